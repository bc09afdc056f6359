import os
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.client.outbox.batch import Metrics, Params, Record, Tags, encode
from lockgate.client.outbox.leftovers import deliver_leftovers
from lockgate.client.outbox.segment import Begin, Header, Segment, frame
from lockgate.client.tracking import Tracking
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.errors import DataDamaged, InvalidInput, NotFound, Unauthenticated, Unavailable


def leave(folder: Path, name: str, header: Header, *records: Record) -> Path:
    """A segment as a killed process leaves it."""
    segment = Segment.create(folder, name, header, room=1 << 16)
    for record in records:
        segment.append(frame(encode(record)))
    segment.close()
    return segment.path


def test_segments_of_gone_processes_are_sent_and_deleted(client: Client, run_id: str, folder: Path) -> None:
    other = client.tracking.create_run("0")
    leave(folder, f"{run_id}-aa-000000", Header(run_id, ""), Metrics(1, 1, {"m": 1.0}), Tags({"t": "old"}))
    leave(folder, f"{run_id}-aa-000001", Header(run_id, ""), Metrics(1, 2, {"m": 2.0}), Tags({"t": "new"}))
    leave(folder, f"{other}-bb-000000", Header(other, ""), Params({"depth": "3"}))
    found = deliver_leftovers(folder, client.tracking)
    assert (len(found.sent), found.kept, found.refused) == (3, [], [])
    assert list(folder.iterdir()) == []
    assert [item.step for item in client.tracking.metric_history(run_id, "m")] == [1, 2]
    assert {item.key: item.value for item in client.tracking.get_run(run_id).data.tags}["t"] == "new"
    assert [item.value for item in client.tracking.get_run(other).data.params] == ["3"]


def test_segment_of_a_running_process_is_left_alone(client: Client, run_id: str, folder: Path) -> None:
    running = Segment.create(folder, f"{run_id}-aa-000000", Header(run_id, ""), room=100)
    running.append(frame(encode(Metrics(1, 1, {"m": 1.0}))))
    found = deliver_leftovers(folder, client.tracking)
    assert (found.sent, found.kept) == ([], [])
    assert running.read()
    running.close()


def test_run_goes_to_the_records_that_know_it_or_to_its_server(client: Client, run_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    with connect(Settings(), state=tmp_path / "other", user="ann", clock=SystemClock()) as server:
        far = server.tracking.create_run("0")
        gone = "http://127.0.0.1:9"  # the server that `lockgate run` had for its stages
        leave(folder, f"{run_id}-aa-000000", Header(run_id, gone), Metrics(1, 1, {"m": 1.0}))
        leave(folder, f"{far}-bb-000000", Header(far, "http://far"), Metrics(1, 2, {"m": 1.0}))
        assert [kept.run_id for kept in deliver_leftovers(folder, client.tracking).kept] == [far]
        asked: list[str] = []

        def open_server(uri: str) -> Tracking:
            asked.append(uri)
            return server.tracking

        assert deliver_leftovers(folder, client.tracking, open_server=open_server).kept == []
        assert asked == ["http://far"]
        assert [item.step for item in client.tracking.metric_history(run_id, "m")] == [1]
        assert [item.step for item in server.tracking.metric_history(far, "m")] == [2]


def test_run_that_nobody_knows_yet_is_begun_where_it_was_meant_to(client: Client, tmp_path: Path, folder: Path) -> None:
    ours, theirs, far = "a" * 32, "b" * 32, "c" * 32
    begin = Begin("churn", "a name", 5)
    leave(folder, f"{ours}-aa-000000", Header(ours, "", "/ours", begin), Metrics(1, 1, {"m": 1.0}))
    leave(folder, f"{ours}-aa-000001", Header(ours, "", "/ours"), Metrics(1, 2, {"m": 1.0}))
    leave(folder, f"{theirs}-aa-000000", Header(theirs, "", "/theirs", begin), Metrics(1, 1, {"m": 1.0}))
    leave(folder, f"{far}-aa-000000", Header(far, "http://far", "/ours", begin), Metrics(1, 1, {"m": 1.0}))
    assert deliver_leftovers(folder, client.tracking).sent == []
    found = deliver_leftovers(folder, client.tracking, home=Path("/ours"))
    assert len(found.sent) == 2
    assert {kept.run_id: type(kept.error) for kept in found.kept} == {theirs: NotFound, far: NotFound}
    info = client.tracking.get_run(ours).info
    assert (info.run_name, info.start_time, info.status) == ("a name", 5, "RUNNING")
    assert [item.step for item in client.tracking.metric_history(ours, "m")] == [1, 2]
    with connect(Settings(), state=tmp_path / "other", user="ann", clock=SystemClock()) as server:
        deliver_leftovers(folder, client.tracking, open_server=lambda uri: server.tracking)
        assert [item.step for item in server.tracking.metric_history(far, "m")] == [1]


def test_run_of_a_file_in_the_state_folder_is_begun_in_that_project(client: Client, tmp_path: Path) -> None:
    run_id = "a" * 32
    state = tmp_path / "moved" / ".lockgate"
    leave(state / "outbox", f"{run_id}-aa-000000", Header(run_id, "", "", Begin("churn", "", 5)), Tags({"t": "1"}))
    (tmp_path / "link").symlink_to(state)
    for elsewhere in (tmp_path / "other", "http://far", ""):
        assert deliver_leftovers(state / "outbox", client.tracking, home=elsewhere).sent == []
    assert len(deliver_leftovers(state / "outbox", client.tracking, home=tmp_path / "link").sent) == 1
    assert client.tracking.get_run(run_id).info.start_time == 5


def test_what_cannot_be_sent_is_kept_with_its_reason(client: Client, run_id: str, folder: Path, line) -> None:
    unknown = "f" * 32
    leave(folder, f"{unknown}-aa-000000", Header(unknown, ""), Metrics(1, 1, {"m": 1.0}))
    (folder / f"{run_id}-bb-000000.segment").write_bytes(b"something else")
    foreign = Segment.create(folder, f"{run_id}-cc-000000", Header(run_id, ""), room=100)
    foreign.append(frame(b"\xc1"))  # whole, and nothing that we know
    foreign.close()
    found = deliver_leftovers(folder, client.tracking)
    assert {type(kept.error) for kept in found.kept} == {NotFound, DataDamaged}
    assert len(found.kept) == len(list(folder.iterdir())) == 3

    leave(folder, f"{run_id}-dd-000000", Header(run_id, ""), Metrics(1, 1, {"m": 1.0}))
    assert Unavailable in {type(kept.error) for kept in deliver_leftovers(folder, line.tracking).kept}
    assert len(list(folder.iterdir())) == 4


def test_later_segments_of_a_process_wait_for_its_earlier_ones(client: Client, run_id: str, folder: Path) -> None:
    leave(folder, f"{run_id}-aa-000000", Header("f" * 32, ""), Tags({"t": "old"}))
    leave(folder, f"{run_id}-aa-000001", Header(run_id, ""), Tags({"t": "new"}))
    found = deliver_leftovers(folder, client.tracking)
    assert (len(found.sent), len(found.kept)) == (0, 1)


def test_refused_names_are_reported_and_the_rest_arrives(client: Client, run_id: str, folder: Path) -> None:
    client.tracking.log_batch(run_id, params={"depth": "3"})
    leave(folder, f"{run_id}-aa-000000", Header(run_id, ""), Params({"depth": "4", "eta": "1"}))
    found = deliver_leftovers(folder, client.tracking)
    assert [refusal.what for refusal in found.refused] == ["param 'depth'"]
    assert isinstance(found.refused[0].error, InvalidInput)
    assert {item.key: item.value for item in client.tracking.get_run(run_id).data.params} == {"depth": "3", "eta": "1"}


@pytest.mark.parametrize("times", [2, 3])
def test_sending_a_segment_again_changes_nothing(
    client: Client, run_id: str, folder: Path, times: int, tmp_path: Path
) -> None:
    records = [Metrics(1, step, {"m": 1.0, "n": float("nan")}) for step in range(50)]
    path = leave(folder, f"{run_id}-aa-000000", Header(run_id, ""), *records, Params({"p": "1"}), Tags({"t": "1"}))
    data = path.read_bytes()
    seen = []
    for _ in range(times):
        path.write_bytes(data)
        assert deliver_leftovers(folder, client.tracking).sent == [path]
        run = client.tracking.get_run(run_id)
        seen.append(
            (run.data, client.tracking.metric_history(run_id, "m"), client.tracking.metric_history(run_id, "n"))
        )
    assert len(seen[0][1]) == len(seen[0][2]) == 50
    assert all(state == seen[0] for state in seen)


def test_folder_that_is_not_there_has_nothing_left(client: Client, tmp_path: Path) -> None:
    assert deliver_leftovers(tmp_path / "none", client.tracking) == ([], [], [])


def test_torn_end_is_mentioned_and_what_is_before_it_arrives(
    client: Client, run_id: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = leave(
        folder, f"{run_id}-aa-000000", Header(run_id, ""), Metrics(1, 1, {"m": 1.0}), Metrics(1, 2, {"m": 1.0})
    )
    data = bytearray(path.read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end - 3 : end] = bytes(3)
    path.write_bytes(data)
    assert deliver_leftovers(folder, client.tracking).sent == [path]
    assert [item.step for item in client.tracking.metric_history(run_id, "m")] == [1]
    assert "were not written whole" in caplog.text


def test_damage_in_the_middle_costs_what_is_damaged_and_is_told(client: Client, run_id: str, folder: Path) -> None:
    records = [Metrics(1, step, {"m": 1.0}) for step in range(100)]
    path = leave(folder, f"{run_id}-aa-000000", Header(run_id, ""), *records)
    data = bytearray(path.read_bytes())
    data[len(data.rstrip(b"\0")) // 2] ^= 0x40
    path.write_bytes(data)
    found = deliver_leftovers(folder, client.tracking)
    assert (found.sent, found.kept) == ([path], [])
    assert len(client.tracking.metric_history(run_id, "m")) == 99
    aside = path.with_suffix(".damaged")
    assert list(folder.iterdir()) == [aside]
    assert aside.read_bytes()[16:] == bytes(data)[16:]
    assert f"damaged bytes in the middle of {path.name}" in found.refused[0].what
    assert str(aside) in found.refused[0].error.message
    assert deliver_leftovers(folder, client.tracking) == ([], [], [])


def test_record_that_cannot_be_read_keeps_back_none_before_it(client: Client, run_id: str, folder: Path) -> None:
    newer = Segment.create(folder, f"{run_id}-aa-000000", Header(run_id, ""), room=1000)
    newer.append(frame(encode(Metrics(1, 1, {"m": 1.0}))))
    newer.append(frame(b"\xc1"))
    newer.close()
    assert [type(kept.error) for kept in deliver_leftovers(folder, client.tracking).kept] == [DataDamaged]
    assert len(client.tracking.metric_history(run_id, "m")) == 1


def test_server_that_wants_a_login_is_to_be_named(client: Client, folder: Path, make_line) -> None:
    far = "f" * 32
    leave(folder, f"{far}-aa-000000", Header(far, "http://far/a b"), Metrics(1, 1, {"m": 1.0}))
    line = make_line(Unauthenticated("this server asks for a login."))
    (kept,) = deliver_leftovers(folder, client.tracking, open_server=lambda uri: line.tracking).kept
    assert kept.error.message == "the server at http://far/a b wants a login: this server asks for a login."
    assert kept.error.hint == "with a token for it: LOCKGATE_URI='http://far/a b' lockgate runs flush"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_keeps_back_no_other(client: Client, run_id: str, folder: Path, kind: str) -> None:
    odd = folder / f"{run_id}-aa-000000.segment"
    folder.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero")
    leave(folder, f"{run_id}-bb-000000", Header(run_id, ""), Metrics(1, 1, {"m": 1.0}))
    (kept,) = deliver_leftovers(folder, client.tracking).kept
    assert (kept.path, type(kept.error)) == (odd, DataDamaged)
    assert len(client.tracking.metric_history(run_id, "m")) == 1


def test_file_that_cannot_be_read_keeps_back_no_other(client: Client, run_id: str, folder: Path) -> None:
    unreadable = folder / f"{run_id}-aa-000000.segment"
    unreadable.mkdir(parents=True)  # what opens neither for us nor for anybody
    leave(folder, f"{run_id}-bb-000000", Header(run_id, ""), Metrics(1, 1, {"m": 1.0}))
    found = deliver_leftovers(folder, client.tracking)
    assert [(kept.path, str(kept.error.message)) for kept in found.kept] == [
        (unreadable, f"{unreadable} cannot be read: Is a directory.")
    ]
    assert [item.step for item in client.tracking.metric_history(run_id, "m")] == [1]
