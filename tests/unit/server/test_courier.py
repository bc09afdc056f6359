"""Deliveries to a real receiver: signed, repeated with the same id, and given up in the end."""

import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from lockgate.clock import FakeClock
from lockgate.metadata import models, outbox, webhooks
from lockgate.server.context import Context
from lockgate.server.courier import Courier, deliver, sign, waiting
from lockgate.testing.receiver import Receiver


@pytest.fixture
def ctx(context: Context) -> Context:
    return replace(context, webhook_private_addresses=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


def deliver_due(ctx: Context) -> bool:
    """A batch to whoever waits for something; whether anybody did."""
    due = waiting(ctx)
    for webhook_id in due:
        deliver(ctx, webhook_id)
    return bool(due)


def subscribe(ctx: Context, url: str, *, secret: str = "s3cret") -> str:
    with ctx.write() as tx:
        return webhooks.create_webhook(tx, name="hook", url=url, events=["registered_model.created"], secret=secret)


def happen(ctx: Context, name: str = "m") -> None:
    with ctx.write() as tx:
        models.create_model(tx, name)


def backlog(ctx: Context, webhook_id: str) -> outbox.Backlog:
    with ctx.read() as connection:
        return outbox.backlog(connection, [webhook_id])[webhook_id]


def clock(ctx: Context) -> FakeClock:
    assert isinstance(ctx.clock, FakeClock)
    return ctx.clock


def test_signature_is_the_one_of_mlflow() -> None:
    # Computed with mlflow 3.17's own function.
    assert sign("s3cret", "d1", "1700000000", '{"a": "é"}') == "v1,6wb49t8Dd2J5aIWvLaCaK47a6Q1uReKKRUwuvuUPk58="


def test_a_receiver_can_check_who_sent_it(ctx: Context, receiver: Receiver) -> None:
    subscribe(ctx, receiver.url)
    happen(ctx)
    assert deliver_due(ctx)
    got = receiver.wait()
    signed = f"{got.headers['x-mlflow-delivery-id']}.{got.headers['x-mlflow-timestamp']}.{got.body}"
    expected = base64.b64encode(hmac.new(b"s3cret", signed.encode(), hashlib.sha256).digest()).decode()
    assert got.headers["x-mlflow-signature"] == f"v1,{expected}"
    assert got.headers["x-mlflow-timestamp"] == "1700000000"
    assert got.headers["content-type"] == "application/json"
    assert got.event == "registered_model.created"
    assert not deliver_due(ctx)


def test_without_a_secret_nothing_is_signed(ctx: Context, receiver: Receiver) -> None:
    subscribe(ctx, receiver.url, secret="")
    happen(ctx)
    deliver_due(ctx)
    assert "x-mlflow-signature" not in receiver.wait().headers


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
def test_what_is_refused_is_sent_again_with_the_same_id_and_a_new_time(ctx: Context, status: int) -> None:
    with Receiver([status]) as receiver:
        webhook_id = subscribe(ctx, receiver.url)
        happen(ctx)
        assert deliver_due(ctx)
        assert not deliver_due(ctx)  # not before its time
        assert f"answered {status}" in backlog(ctx, webhook_id).last_error
        clock(ctx).sleep(outbox.FIRST_WAIT_MS / 1000)
        assert deliver_due(ctx)
        first, second = receiver.take_all()
    assert first.body == second.body
    assert first.headers["x-mlflow-delivery-id"] == second.headers["x-mlflow-delivery-id"]
    assert int(second.headers["x-mlflow-timestamp"]) == int(first.headers["x-mlflow-timestamp"]) + 1
    assert first.headers["x-mlflow-signature"] != second.headers["x-mlflow-signature"]
    assert backlog(ctx, webhook_id) == outbox.Backlog(0, 0, "")


def test_a_dead_receiver_does_not_keep_the_others_waiting(ctx: Context, receiver: Receiver) -> None:
    with Receiver() as gone:
        dead = subscribe(ctx, gone.url)
    subscribe(ctx, receiver.url)
    for i in range(3):
        happen(ctx, f"m{i}")
    while deliver_due(ctx):
        pass
    assert sorted(item.message["data"]["name"] for item in receiver.take_all()) == ["m0", "m1", "m2"]
    left = backlog(ctx, dead)
    assert left.waiting == 3
    assert left.last_error.startswith("no answer from 127.0.0.1")


def test_private_addresses_need_the_setting_when_it_is_sent_as_well(ctx: Context, receiver: Receiver) -> None:
    """The setting may be taken back after the webhook was made."""
    webhook_id = subscribe(ctx, receiver.url)
    happen(ctx)
    deliver_due(replace(ctx, webhook_private_addresses=False))
    assert receiver.take_all() == []
    assert backlog(ctx, webhook_id).waiting == 1


def test_the_thread_sends_what_happens_while_it_runs(ctx: Context, receiver: Receiver) -> None:
    subscribe(ctx, receiver.url)
    with Courier(ctx, look_every_s=0.01):
        for name in ("a", "b"):
            happen(ctx, name)
            assert receiver.wait().message["data"]["name"] == name


def test_a_slow_receiver_keeps_nobody_else_waiting_and_gets_its_messages_in_order(
    ctx: Context, receiver: Receiver
) -> None:
    may_answer = threading.Event()
    with Receiver(wait_for=may_answer) as slow:
        subscribe(ctx, slow.url)
        subscribe(ctx, receiver.url)
        with Courier(ctx, look_every_s=0.01):
            for i in range(6):  # more than a batch
                happen(ctx, f"m{i}")
                clock(ctx).sleep(0.001)
            assert [receiver.wait().message["data"]["name"] for _ in range(6)] == [f"m{i}" for i in range(6)]
            assert slow.wait().message["data"]["name"] == "m0"
            assert slow.take_all() == []  # one at a time
            may_answer.set()
            assert [slow.wait().message["data"]["name"] for _ in range(5)] == [f"m{i}" for i in range(1, 6)]


def test_what_was_not_tried_when_it_stops_is_due_at_once(ctx: Context, receiver: Receiver) -> None:
    webhook_id = subscribe(ctx, receiver.url)
    happen(ctx)
    stopping = threading.Event()
    stopping.set()
    assert not deliver(ctx, webhook_id, until=stopping)
    assert receiver.take_all() == []
    assert deliver_due(ctx)
    assert receiver.wait().event == "registered_model.created"
