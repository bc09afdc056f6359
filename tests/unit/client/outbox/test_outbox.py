import itertools
import math
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.client.outbox.batch import End, Metrics, Params, Tags
from lockgate.client.outbox.leftovers import deliver_leftovers
from lockgate.client.outbox.outbox import Outbox
from lockgate.errors import (
    DeadlineExceeded,
    InvalidInput,
    LockgateError,
    PermissionDenied,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from lockgate.wire.mlflow.runs import DELETE_RUN, RESTORE_RUN, OfRun

LIMIT_S = 60.0
MakeOutbox = Callable[..., Outbox]
TraceFunction = Callable[[FrameType, str, Any], Any]  # as the library has it


def points(client: Client, run_id: str, key: str) -> list[tuple[int, float]]:
    return sorted((item.step or 0, float(item.value)) for item in client.tracking.metric_history(run_id, key))


def test_everything_that_was_logged_arrives(client: Client, run_id: str, make_outbox: MakeOutbox) -> None:
    outbox = make_outbox()
    for step in range(2500):
        outbox.append(Metrics(1000 + step, step, {"loss": step / 2, "auc": 1.0}))
    outbox.append(Params({"depth": "3"}))
    outbox.append(Tags({"team": "crm"}))
    outbox.append(Tags({"team": "ads"}))
    outbox.flush(LIMIT_S)
    assert points(client, run_id, "loss") == [(step, step / 2) for step in range(2500)]
    run = client.tracking.get_run(run_id)
    assert {item.key: item.value for item in run.data.metrics} == {"auc": 1.0, "loss": 2499 / 2}
    assert {item.key: item.value for item in run.data.params} == {"depth": "3"}
    assert {item.key: item.value for item in run.data.tags}["team"] == "ads"


def test_nan_and_infinities_arrive_as_themselves(client: Client, run_id: str, make_outbox: MakeOutbox) -> None:
    values = [math.nan, math.inf, -math.inf, 1.0]
    outbox = make_outbox()
    for step, value in enumerate(values):
        outbox.append(Metrics(1, step, {"m": value}))
    outbox.flush(LIMIT_S)
    assert [item.value for item in client.tracking.metric_history(run_id, "m")] == ["NaN", "Infinity", "-Infinity", 1.0]


def test_run_ends_when_it_was_said_to(client: Client, run_id: str, make_outbox: MakeOutbox) -> None:
    outbox = make_outbox()
    outbox.append(End(4_000_000_000_000, "FAILED"))
    assert outbox.close(LIMIT_S) is None
    info = client.tracking.get_run(run_id).info
    assert (info.status, info.end_time) == ("FAILED", 4_000_000_000_000)


def test_ten_thousand_params_and_a_call_larger_than_a_segment_arrive(
    client: Client, run_id: str, make_outbox: MakeOutbox
) -> None:
    outbox = make_outbox(limit_bytes=1 << 16)
    for start in range(0, 10_000, 1000):
        outbox.append(Params({f"p{i}": str(i) for i in range(start, start + 1000)}))
    outbox.append(Tags({"long": "x" * 300_000}))
    outbox.flush(LIMIT_S)
    data = client.tracking.get_run(run_id).data
    assert {item.key: item.value for item in data.params} == {f"p{i}": str(i) for i in range(10_000)}
    assert len({item.key: item.value for item in data.tags}["long"]) == 8000  # the server's limit


def test_nothing_is_left_on_disk_after_the_end(folder: Path, make_outbox: MakeOutbox) -> None:
    outbox = make_outbox(limit_bytes=1 << 14)
    for step in range(3000):
        outbox.append(Metrics(1, step, {"m": 1.0}))
    assert outbox.close(LIMIT_S) is None
    assert list(folder.iterdir()) == []


def test_log_calls_go_on_while_the_server_is_away_and_all_is_sent_when_it_is_back(
    client: Client, run_id: str, line, make_outbox: MakeOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = make_outbox(line.tracking)
    for step in range(5000):
        outbox.append(Metrics(1, step, {"m": 1.0}))
    line.tried.acquire()
    line.tried.acquire()  # it was tried again
    with pytest.raises(DeadlineExceeded, match=r"remain in .*outbox.*: the line is cut") as error:
        outbox.flush(0)
    assert "this script sends them" in str(error.value.hint)  # lockgate runs flush leaves a running one's alone
    line.restore()
    outbox.flush(LIMIT_S)
    assert [step for step, _ in points(client, run_id, "m")] == list(range(5000))
    assert caplog.text.count("values cannot be sent, training goes on") == 1


@pytest.mark.parametrize(
    "error",
    [
        Unauthenticated("expired"),
        PermissionDenied("'ann' has no role there."),
        TooManyRequests("wait", retry_after_s=0.01),
        TooManyRequests("wait", retry_after_s=1e11),
    ],
)
def test_trouble_that_may_pass_loses_nothing(
    client: Client, run_id: str, make_line, make_outbox: MakeOutbox, error: LockgateError
) -> None:
    line = make_line(error)
    outbox = make_outbox(line.tracking)
    outbox.append(Metrics(1, 1, {"m": 1.0}))
    line.tried.acquire()
    line.restore()
    outbox.flush(LIMIT_S)
    assert points(client, run_id, "m") == [(1, 1.0)]


@pytest.mark.parametrize("error", [Unavailable("the line is cut."), PermissionDenied("'ann' has no role there.")])
def test_full_outbox_makes_the_caller_wait_and_drops_nothing(
    client: Client,
    run_id: str,
    make_line,
    make_outbox: MakeOutbox,
    caplog: pytest.LogCaptureFixture,
    error: LockgateError,
) -> None:
    line = make_line(error)
    limit = 1 << 14
    outbox = make_outbox(line.tracking, limit_bytes=limit)
    most, logged = [0], [0]

    def train() -> None:
        for step in range(2000):
            outbox.append(Metrics(1, step, {"a_rather_long_name": 1.0}))
            most[0] = max(most[0], outbox.pending_bytes)
            logged[0] += 1

    thread = threading.Thread(target=train)
    thread.start()
    while "logging waits" not in caplog.text:
        line.tried.acquire()
    assert line.tried.acquire(timeout=LIMIT_S)  # it was tried again
    assert logged[0] < 2000
    line.restore()
    thread.join()
    outbox.flush(LIMIT_S)
    assert len(points(client, run_id, "a_rather_long_name")) == 2000
    assert limit - 100 < most[0] <= limit
    assert caplog.text.count("logging waits") == 1


def test_refused_param_is_named_and_everything_else_arrives(
    client: Client, run_id: str, make_outbox: MakeOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    client.tracking.log_batch(run_id, params={"depth": "3"})
    outbox = make_outbox()
    outbox.append(Params({"eta": "0.1", "depth": "4"}))
    outbox.append(Metrics(1, 1, {"m": 1.0, "what?": 2.0}))
    outbox.append(Params({"late": "1"}))
    outbox.append(Params({"late": "2"}))  # in one batch with the first: the first counts
    with pytest.raises(InvalidInput, match="3 of the logged names were refused") as raised:
        outbox.flush(LIMIT_S)
    for name in ("param 'depth'", "metric 'what?'", "param 'late'"):
        assert name in str(raised.value)
        assert f"refused: {name}" in caplog.text
    outbox.flush(LIMIT_S)  # said once
    data = client.tracking.get_run(run_id).data
    assert {item.key: item.value for item in data.params} == {"depth": "3", "eta": "0.1", "late": "1"}
    assert [item.key for item in data.metrics] == ["m"]


def test_deleted_run_keeps_its_values_until_it_is_restored(
    client: Client, run_id: str, folder: Path, make_outbox: MakeOutbox
) -> None:
    client.transport.call(DELETE_RUN, OfRun(run_id=run_id))
    outbox = make_outbox(limit_bytes=1 << 12)
    outbox.append(Metrics(1, 1, {"m": 1.0}))
    with pytest.raises(InvalidInput, match="is deleted"):
        outbox.flush(LIMIT_S)
    with pytest.raises(InvalidInput, match="is deleted"):  # waiting for room would be for ever
        for step in range(2, 1000):
            outbox.append(Metrics(1, step, {"m": 1.0}))
    assert "is deleted" in str(outbox.close(LIMIT_S))
    client.transport.call(RESTORE_RUN, OfRun(run_id=run_id))
    assert deliver_leftovers(folder, client.tracking).kept == []
    found = points(client, run_id, "m")
    assert found == [(step, 1.0) for step in range(1, len(found) + 1)]
    assert len(found) > 1


def test_values_arrive_when_the_run_is_restored_while_it_is_logged_to(
    client: Client, run_id: str, make_outbox: MakeOutbox
) -> None:
    client.transport.call(DELETE_RUN, OfRun(run_id=run_id))
    outbox = make_outbox()
    outbox.append(Metrics(1, 1, {"m": 1.0}))
    for _ in range(2):  # each asks the server
        with pytest.raises(InvalidInput, match="is deleted"):
            outbox.flush(LIMIT_S)
    client.transport.call(RESTORE_RUN, OfRun(run_id=run_id))
    outbox.append(Metrics(1, 2, {"m": 1.0}))
    outbox.flush(LIMIT_S)
    assert points(client, run_id, "m") == [(1, 1.0), (2, 1.0)]


def test_unknown_run_is_reported(make_outbox: MakeOutbox) -> None:
    outbox = make_outbox(run="f" * 32)
    outbox.append(Metrics(1, 1, {"m": 1.0}))
    with pytest.raises(InvalidInput, match="is not known there"):
        outbox.flush(LIMIT_S)


def test_threads_may_log_at_once(client: Client, run_id: str, make_outbox: MakeOutbox) -> None:
    outbox = make_outbox(limit_bytes=1 << 15)

    def train(name: str) -> None:
        for step in range(1500):
            outbox.append(Metrics(1, step, {name: 1.0}))

    threads = [threading.Thread(target=train, args=(f"m{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.flush(LIMIT_S)
    for i in range(4):
        assert [step for step, _ in points(client, run_id, f"m{i}")] == list(range(1500))


def test_signal_handler_may_log_in_the_middle_of_a_call(client: Client, run_id: str, make_outbox: MakeOutbox) -> None:
    outbox = make_outbox()
    numbers = itertools.count()  # a handler may be interrupted by the next one
    heard: list[int] = []
    depth = 0

    def hear(number: int, frame: object) -> None:
        nonlocal depth
        if depth == 20:  # a machine too slow for so many signals would go on interrupting itself
            return
        depth += 1
        step = next(numbers)
        outbox.append(Metrics(1, step, {"signals": 1.0}))
        heard.append(step)
        depth -= 1

    before = signal.signal(signal.SIGALRM, hear)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        step = 0
        while len(heard) < 200:
            outbox.append(Metrics(1, step, {"loop": 1.0}))
            step += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    outbox.flush(LIMIT_S)
    assert [step for step, _ in points(client, run_id, "signals")] == sorted(heard)
    assert len(points(client, run_id, "loop")) == step


def test_signal_handler_may_flush_at_any_line_of_a_flush(client: Client, run_id: str, make_outbox: MakeOutbox) -> None:
    outbox = make_outbox()
    flushed: list[str] = []

    def hear(frame: FrameType, event: str, argument: object) -> TraceFunction:
        outbox.flush(LIMIT_S)  # a handler runs between two lines of whatever runs; it is not traced itself
        flushed.append(event)
        return hear

    def train() -> None:
        outbox.append(Metrics(1, 1, {"m": 1.0}))
        sys.settrace(hear)
        outbox.flush(LIMIT_S)
        sys.settrace(None)
        ended.set()

    ended = threading.Event()
    threading.Thread(target=train, daemon=True).start()
    assert ended.wait(LIMIT_S)
    assert len(flushed) > 10
    assert points(client, run_id, "m") == [(1, 1.0)]


def test_signal_handler_returns_while_the_call_it_interrupts_waits_for_room(
    client: Client, run_id: str, line, folder: Path, make_outbox: MakeOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = make_outbox(line.tracking, limit_bytes=1 << 12)
    kept: list[bool] = []

    def hear(number: int, frame: object) -> None:
        if "logging waits" in caplog.text and not kept:
            outbox.append(Tags({"preempted": "yes"}))
            kept.append(any(b"preempted" in path.read_bytes() for path in folder.glob("*.segment")))
            line.restore()

    before = signal.signal(signal.SIGALRM, hear)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        for step in range(500):
            outbox.append(Metrics(1, step, {"m": 1.0}))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    outbox.flush(LIMIT_S)
    assert kept == [True]
    assert {item.key: item.value for item in client.tracking.get_run(run_id).data.tags}["preempted"] == "yes"
    assert [step for step, _ in points(client, run_id, "m")] == list(range(500))


def test_what_is_logged_while_another_thread_ends_the_run_is_kept(
    client: Client, folder: Path, make_outbox: MakeOutbox
) -> None:
    runs = [client.tracking.create_run("0") for _ in range(20)]
    returned: dict[str, int] = {}
    for run in runs:
        outbox = make_outbox(run=run)
        stop = threading.Event()

        def train(outbox: Outbox = outbox, run: str = run, stop: threading.Event = stop) -> None:
            while not stop.wait(0.0005):
                step = returned.setdefault(run, 0)
                outbox.append(Metrics(1, step, {"m": 1.0}))
                returned[run] = step + 1

        thread = threading.Thread(target=train)
        thread.start()
        while returned.get(run, 0) < 50:
            pass
        outbox.close(LIMIT_S)
        stop.set()
        thread.join()
    assert deliver_leftovers(folder, client.tracking).kept == []
    assert {run: len(points(client, run, "m")) for run in runs} == returned
    assert list(folder.iterdir()) == []


def test_what_is_kept_apart_keeps_its_order(client: Client, run_id: str, folder: Path, make_outbox: MakeOutbox) -> None:
    outbox = make_outbox()
    outbox.close(LIMIT_S)
    for number in range(20):
        outbox.append(Tags({"stage": str(number)}))
    assert deliver_leftovers(folder, client.tracking).kept == []
    assert {item.key: item.value for item in client.tracking.get_run(run_id).data.tags}["stage"] == "19"


def test_run_ends_in_time_while_a_thread_waits_for_room(
    client: Client, run_id: str, line, folder: Path, make_outbox: MakeOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = make_outbox(line.tracking, limit_bytes=1 << 12)

    def train() -> None:
        for step in range(500):
            outbox.append(Metrics(1, step, {"m": 1.0}))

    thread = threading.Thread(target=train)
    thread.start()
    while "logging waits" not in caplog.text:
        line.tried.acquire()
    outbox.append(End(4_000_000_000_000, "FAILED"), may_wait=False)
    assert "not sent within 0.1 s: the line is cut" in str(outbox.close(0.1))
    thread.join()  # what it logs now is kept apart
    line.restore()
    assert deliver_leftovers(folder, client.tracking).kept == []
    assert client.tracking.get_run(run_id).info.status == "FAILED"
    assert [step for step, _ in points(client, run_id, "m")] == list(range(500))


def test_many_runs_one_after_the_other(client: Client, folder: Path, make_outbox: MakeOutbox) -> None:
    runs = [client.tracking.create_run("0") for _ in range(20)]
    for number, run in enumerate(runs):
        outbox = make_outbox(run=run)
        outbox.append(Metrics(1, number, {"m": 1.0}))
        assert outbox.close(LIMIT_S) is None
    assert [points(client, run, "m") for run in runs] == [[(number, 1.0)] for number in range(20)]
    assert list(folder.iterdir()) == []
