from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.client.outbox.batch import Metrics, encode
from lockgate.client.outbox.delivery import RunClosed, deliver
from lockgate.client.outbox.segment import Header, Segment, frame
from lockgate.errors import LockgateError, PermissionDenied, Unavailable


def test_what_is_logged_while_a_request_is_under_way_waits_for_the_next_one(
    client: Client, run_id: str, folder: Path, make_line: Callable[[LockgateError], Any]
) -> None:
    segment = Segment.create(folder, "a-b-000000", Header(run_id, ""), room=1 << 16)

    def log(step: int) -> None:
        segment.append(frame(encode(Metrics(1, step, {"loss": 1.0}))))

    def acknowledged(size: int) -> None:
        if len(line.calls) == 1:
            log(3)
            log(4)

    line = make_line(Unavailable("cut"))
    line.restore()
    log(1)
    log(2)
    for requests in (1, 2):
        deliver(segment, line.tracking, refuse=lambda refusal: None, acknowledged=acknowledged)
        assert line.calls == ["runs.log_series"] * requests
    assert segment.sent == segment.size
    segment.close()


def test_run_that_is_not_ours_to_write_to_takes_nothing_and_says_what_to_do(
    client: Client, run_id: str, folder: Path, make_line: Callable[[LockgateError], Any]
) -> None:
    segment = Segment.create(folder, "a-b-000000", Header(run_id, ""), room=1 << 16)
    segment.append(frame(encode(Metrics(1, 1, {"loss": 1.0}))))
    line = make_line(PermissionDenied("'ann' has no role there.", hint="an admin gives it"))
    with pytest.raises(RunClosed, match=r"nothing can be logged to the run .* 'ann' has no role") as closed:
        deliver(segment, line.tracking, refuse=lambda refusal: None)
    assert closed.value.hint == "an admin gives it"
    line.restore()
    deliver(segment, line.tracking, refuse=lambda refusal: None)
    assert [item.step for item in client.tracking.metric_history(run_id, "loss")] == [1]
    segment.close()
