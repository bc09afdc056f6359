import os
from pathlib import Path

import pytest

from lockgate.clock import FakeClock
from lockgate.data.predictions import (
    PredictionLog,
    append_feedback,
    count_rows,
    expire,
    find_logged,
    find_prediction,
    iter_predictions,
    read_feedback,
)
from lockgate.entities import Feedback, Prediction
from lockgate.errors import DataDamaged
from lockgate.ids import new_sortable_id

DAY_MS = 86_400_000


def prediction(id_: str, at: int, **fields: object) -> Prediction:
    values = {"model": "m", "version": 1, "environment": "e", "inputs": {"a": 1.5}, "output": 1, "latency_ms": 0.5}
    return Prediction(prediction_id=id_, at=at, **{**values, **fields})  # type: ignore[arg-type]


def open_log(folder: Path, clock: FakeClock, segment_bytes: int = 1 << 20) -> PredictionLog:
    return PredictionLog(folder, replica="r-1", clock=clock, keep_days=30, keep_mb=100, segment_bytes=segment_bytes)


def touch(path: Path, at: int) -> None:
    os.utime(path, ns=(at * 1_000_000, at * 1_000_000))


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    clock = FakeClock()
    items = [
        prediction("a", clock.now_ms(), inputs={"x": 1.0, "s": "é\n", "n": None, "b": True}, scores=(0.25, 0.75)),
        prediction("b", clock.now_ms() + 1, status=500, error="division by zero", output=None),
    ]
    open_log(tmp_path, clock).append(items)
    assert list(iter_predictions(tmp_path)) == items


def test_the_line_on_disk_is_stable(tmp_path: Path) -> None:
    open_log(tmp_path, FakeClock(1000)).append([prediction("a", 1000)])
    assert (tmp_path / "r-1-1000.jsonl").read_bytes() == (
        b'{"prediction_id":"a","at":1000,"model":"m","version":1,"environment":"e",'
        b'"inputs":{"a":1.5},"output":1,"latency_ms":0.5}\n'
    )


def test_window_takes_its_start_and_not_its_end(tmp_path: Path) -> None:
    now = FakeClock().now_ms()
    open_log(tmp_path, FakeClock()).append([prediction(str(i), now + i) for i in range(5)])
    assert [item.prediction_id for item in iter_predictions(tmp_path, now + 1, now + 3)] == ["1", "2"]


def test_torn_last_line_is_skipped(tmp_path: Path) -> None:
    open_log(tmp_path, FakeClock()).append([prediction("a", 1), prediction("b", 2)])
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-20])
    assert [item.prediction_id for item in iter_predictions(tmp_path)] == ["a"]
    assert find_prediction(tmp_path, "b") is None


def test_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    open_log(tmp_path, FakeClock()).append([prediction("a", 1)])
    path = next(tmp_path.iterdir())
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(DataDamaged, match=r"\.jsonl line 1 is not a record"):
        list(iter_predictions(tmp_path))


def test_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    clock = FakeClock()
    log = open_log(tmp_path, clock, segment_bytes=100)
    for i in range(3):
        log.append([prediction(str(i), clock.now_ms())])
        clock.sleep(1)
    log.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert [item.prediction_id for item in iter_predictions(tmp_path)] == ["0", "1", "2"]


def test_failed_write_leaves_whole_lines(tmp_path: Path) -> None:
    log = open_log(tmp_path, FakeClock())
    log.append([prediction("a", 1)])
    path = next(tmp_path.iterdir())
    os.close(log._fd)
    log._fd = os.open(path, os.O_RDONLY)
    with pytest.raises(OSError):
        log.append([prediction("b", 2)])
    assert [item.prediction_id for item in iter_predictions(tmp_path)] == ["a"]


def test_prediction_is_found_by_id_in_any_segment(tmp_path: Path) -> None:
    now = FakeClock().now_ms()
    ids = [new_sortable_id() for _ in range(20)]
    log = open_log(tmp_path, FakeClock(), segment_bytes=300)
    for i, id_ in enumerate(ids):
        log.append([prediction(id_, now + i), prediction(f"{id_}-1", now + i)])
    found = find_prediction(tmp_path, ids[7])
    assert found is not None and found.at == now + 7
    assert find_prediction(tmp_path, new_sortable_id()) is None
    assert find_prediction(tmp_path, "no-such-id") is None
    assert find_prediction(tmp_path / "nowhere", ids[0]) is None


def test_id_inside_an_input_is_no_match(tmp_path: Path) -> None:
    open_log(tmp_path, FakeClock()).append([prediction("a", 1, inputs={"prediction_id": "b", "t": 1})])
    assert find_prediction(tmp_path, "b") is None


def test_rows_of_a_request_are_counted_and_no_others(tmp_path: Path) -> None:
    request, other = new_sortable_id(), new_sortable_id()
    ids = (f"{request}-0", f"{request}-1", f"{other}-0", other, "x-0")
    open_log(tmp_path, FakeClock()).append([prediction(id_, FakeClock().now_ms()) for id_ in ids])
    assert [count_rows(tmp_path, id_) for id_ in (request, other, "x", f"{request}-0", "nobody")] == [2, 1, 1, 0, 0]


def test_which_ids_are_logged_is_told_of_many_at_once(tmp_path: Path) -> None:
    now = FakeClock().now_ms()
    ids = [new_sortable_id() for _ in range(20)]
    log = open_log(tmp_path, FakeClock(), segment_bytes=300)
    for id_ in ids[:10]:
        log.append([prediction(id_, now, inputs={"prediction_id": ids[15], "t": 1})])
    assert find_logged(tmp_path, set(ids)) == set(ids[:10])
    log.append([prediction('a "quoted" é', now), prediction("torn", now)])
    path = max(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    assert find_logged(tmp_path, {'a "quoted" é', "torn", ids[3]}) == {'a "quoted" é', ids[3]}
    assert find_logged(tmp_path, set()) == find_logged(tmp_path / "nowhere", {"a"}) == set()


def test_old_files_go_and_then_the_oldest_while_there_is_too_much(tmp_path: Path) -> None:
    now = 100 * DAY_MS
    for age_days, size in ((40, 10), (3, 600 << 10), (2, 600 << 10), (1, 600 << 10)):
        path = tmp_path / f"r-{now - age_days * DAY_MS}.jsonl"
        path.write_bytes(b" " * size)
        touch(path, now - age_days * DAY_MS)
    expire(tmp_path, now_ms=now, keep_days=30, keep_mb=1)
    assert [path.name for path in tmp_path.iterdir()] == [f"r-{now - DAY_MS}.jsonl"]


def test_feedback_is_read_back_from_all_writers(tmp_path: Path) -> None:
    items = [Feedback(prediction_id=str(i), label=i % 2, at=DAY_MS * i) for i in range(4)]
    append_feedback(tmp_path, items[:2])
    append_feedback(tmp_path, items[2:])
    append_feedback(tmp_path, [])
    assert sorted(read_feedback(tmp_path), key=lambda item: item.at) == items
    assert [item.prediction_id for item in read_feedback(tmp_path, DAY_MS, 2 * DAY_MS)] == ["1"]
    assert list(read_feedback(tmp_path / "nowhere")) == []
