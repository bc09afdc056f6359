from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.client.outbox.batch import Metrics, encode
from lockgate.client.outbox.delivery import NoRole, Refusal, RunClosed, deliver
from lockgate.client.outbox.segment import Begin, Header, Segment, frame
from lockgate.client.tracking import Tracking
from lockgate.client.transport import Transport
from lockgate.clock import SystemClock
from lockgate.errors import InvalidInput, LockgateError, PayloadTooLarge, PermissionDenied, Unavailable
from lockgate.wire.operation import Operation
from lockgate.wire.series import LogSeries


class Narrow(Transport):
    """Takes no request with more than so many values of a metric."""

    def __init__(self, client: Client, limit: int) -> None:
        self._client = client
        self._limit = limit

    def call(self, operation: Operation[Any, Any], request: Any) -> Any:
        if isinstance(request, LogSeries) and sum(len(series.values) for series in request.series) > self._limit:
            raise PayloadTooLarge("what stands before the server takes no request of this size.")
        return self._client.transport.call(operation, request)

    def put_file(self, path: str, local: Path) -> None:
        raise NotImplementedError

    def get_file(self, path: str, target: Path) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_metric_that_is_too_large_for_a_proxy_is_sent_in_pieces(
    client: Client, run_id: str, folder: Path, limit: int
) -> None:
    segment = Segment.create(folder, "a-b-000000", Header(run_id, ""), room=1 << 16)
    for step in range(21):
        segment.append(frame(encode(Metrics(1, step, {"loss": 1.0, "auc": 0.5}))))
    refused: list[Refusal] = []
    deliver(segment, Tracking(Narrow(client, limit), SystemClock()), refuse=refused.append)
    assert refused == []
    for key in ("loss", "auc"):
        assert sorted(item.step or 0 for item in client.tracking.metric_history(run_id, key)) == list(range(21))
    segment.close()


def test_value_that_is_too_large_alone_is_refused_once(client: Client, run_id: str, folder: Path) -> None:
    segment = Segment.create(folder, "a-b-000000", Header(run_id, ""), room=1 << 16)
    for step in range(5):
        segment.append(frame(encode(Metrics(1, step, {"loss": 1.0}))))
    refused: list[Refusal] = []
    deliver(segment, Tracking(Narrow(client, 0), SystemClock()), refuse=refused.append)
    assert [refusal.what for refusal in refused] == ["metric 'loss'"]
    segment.close()


@pytest.mark.parametrize("begin", [None, Begin("churn", "", 1)])
def test_what_a_login_page_says_is_no_word_of_the_server(
    folder: Path, make_line: Callable[[LockgateError], Any], begin: Begin | None
) -> None:
    error = InvalidInput("status 302, which leads to https://login.example.")
    error.retry_helps = True
    segment = Segment.create(folder, "a-b-000000", Header("a" * 32, "", "", begin), room=1 << 16)
    segment.append(frame(encode(Metrics(1, 1, {"loss": 1.0}))))
    with pytest.raises(InvalidInput) as raised:
        deliver(segment, make_line(error).tracking, refuse=lambda refusal: pytest.fail(str(refusal)))
    assert raised.value is error
    segment.close()


def test_run_that_may_not_begin_is_told_from_one_whose_role_was_taken(
    folder: Path, make_line: Callable[[LockgateError], Any]
) -> None:
    tracking = make_line(PermissionDenied("'ann' has no role there.")).tracking
    for begin, expected in ((Begin("churn", "", 1), RunClosed), (None, NoRole)):
        segment = Segment.create(folder, "a-b-000000", Header("a" * 32, "", "", begin), room=1 << 16)
        segment.append(frame(encode(Metrics(1, 1, {"loss": 1.0}))))
        with pytest.raises(RunClosed, match="has no role") as raised:
            deliver(segment, tracking, refuse=lambda refusal: None)
        assert type(raised.value) is expected
        segment.delete()


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
