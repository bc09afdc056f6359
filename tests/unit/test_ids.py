import re

from lockgate.ids import new_model_id, new_run_id, new_sortable_id


def test_run_and_model_ids_look_like_mlflows() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", new_run_id())
    assert re.fullmatch(r"m-[0-9a-f]{32}", new_model_id())


def test_ids_do_not_repeat() -> None:
    assert len({new_run_id() for _ in range(1_000)}) == 1_000
    assert len({new_sortable_id() for _ in range(1_000)}) == 1_000


def test_sortable_ids_begin_with_their_time() -> None:
    ids = [new_sortable_id() for _ in range(100)]
    assert all(re.fullmatch(r"[0-9a-f]{26}", i) for i in ids)
    times = [i[:12] for i in ids]
    assert times == sorted(times)
