"""Deliveries to a real receiver of what was really done: signed, repeated with the same id, and given up in the end."""

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from lockgate.client.client import Client
from lockgate.client.http import HttpTransport
from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.entities import Alert, Approval, Check, Content, Release, Rollout, RolloutTransition, Verdict
from lockgate.metadata import models, outbox, webhooks
from lockgate.server.app import make_app
from lockgate.server.context import Context
from lockgate.server.courier import Courier, deliver, sign, waiting
from lockgate.server.run import serve_in_thread
from lockgate.server.try_webhook import try_webhook
from lockgate.testing.receiver import Received, Receiver
from lockgate.wire.mlflow import registry as mlflow


@pytest.fixture
def ctx(context: Context) -> Context:
    return replace(context, webhook_private_addresses=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


class Permits(threading.Event):
    """A receiver that waits for it answers one request for each `give`."""

    def __init__(self) -> None:
        super().__init__()
        self._left = threading.Semaphore(0)

    def give(self, count: int) -> None:
        self._left.release(count)

    def wait(self, timeout: float | None = None) -> bool:
        return self._left.acquire(timeout=timeout)


def deliver_due(ctx: Context) -> bool:
    """A turn for whoever waits for something; whether anybody did."""
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


def signature(got: Received, *, secret: bytes) -> str:
    """As a receiver computes it."""
    signed = f"{got.headers['x-mlflow-delivery-id']}.{got.headers['x-mlflow-timestamp']}.{got.body}"
    return f"v1,{base64.b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).decode()}"


def test_a_receiver_can_check_who_sent_it(ctx: Context, receiver: Receiver) -> None:
    subscribe(ctx, receiver.url)
    happen(ctx)
    assert deliver_due(ctx)
    got = receiver.wait()
    assert got.headers["x-mlflow-signature"] == signature(got, secret=b"s3cret")
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


def test_what_is_refused_keeps_no_other_message_waiting(ctx: Context) -> None:
    with Receiver([422]) as receiver:
        webhook_id = subscribe(ctx, receiver.url)
        for name in ("refused", "a", "b"):
            happen(ctx, name)
            clock(ctx).sleep(0.001)
        deliver_due(ctx)
        assert [item.message["data"]["name"] for item in receiver.take_all()] == ["refused", "a", "b"]
    assert backlog(ctx, webhook_id) == outbox.Backlog(1, 0, "the receiver answered 422")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_receiver_that_takes_nothing_now_is_left_alone(ctx: Context, status: int) -> None:
    with Receiver([status]) as receiver:
        webhook_id = subscribe(ctx, receiver.url)
        for name in ("a", "b", "c"):
            happen(ctx, name)
        deliver_due(ctx)
        assert len(receiver.take_all()) == 1
    assert backlog(ctx, webhook_id).waiting == 3


def test_what_waited_while_no_server_ran_is_not_given_up_at_the_first_failure(ctx: Context) -> None:
    with Receiver([503, 422]) as receiver:
        webhook_id = subscribe(ctx, receiver.url)
        for name in ("a", "b"):
            happen(ctx, name)
        clock(ctx).sleep(2 * outbox.GIVE_UP_AFTER_MS / 1000)
        for _ in range(2):
            with Courier(ctx, look_every_s=0.01):  # which tidies up as well
                receiver.wait()
            clock(ctx).sleep(outbox.FIRST_WAIT_MS / 1000)
        while deliver_due(ctx):
            clock(ctx).sleep(outbox.FIRST_WAIT_MS / 1000)
    assert backlog(ctx, webhook_id) == outbox.Backlog(0, 0, "")


def test_what_was_given_up_is_forgotten_while_nothing_fails(ctx: Context, receiver: Receiver) -> None:
    webhook_id = subscribe(ctx, receiver.url)
    happen(ctx, "old")
    with ctx.write() as tx:
        tx.connection.exec_driver_sql("UPDATE webhook_deliveries SET due_at = NULL, error = 'no answer'")
    clock(ctx).sleep(outbox.FORGET_AFTER_MS / 1000)
    happen(ctx, "new")
    with Courier(ctx, look_every_s=0.01):
        receiver.wait()
    assert backlog(ctx, webhook_id) == outbox.Backlog(0, 0, "")


def test_nothing_more_goes_to_who_is_removed_disabled_or_moved_while_a_message_is_on_its_way(ctx: Context) -> None:
    may_answer = threading.Event()
    with Receiver(wait_for=may_answer) as old, Receiver() as new:
        hooks = [subscribe(ctx, old.url) for _ in range(3)]
        for i in range(3):
            happen(ctx, f"m{i}")
            clock(ctx).sleep(0.001)
        with Courier(ctx, look_every_s=0.01):
            on_their_way = [old.wait() for _ in hooks]
            with ctx.write() as tx:
                webhooks.delete_webhook(tx, hooks[0])
                webhooks.update_webhook(tx, hooks[1], status="DISABLED")
                webhooks.update_webhook(tx, hooks[2], url=new.url)
            may_answer.set()
            moved = [new.wait().message["data"]["name"] for _ in range(2)]
    assert {item.message["data"]["name"] for item in on_their_way} == {"m0"}
    assert old.take_all() == []
    assert moved == ["m1", "m2"]
    assert backlog(ctx, hooks[1]).waiting == 2


def test_servers_on_one_database_send_a_receiver_one_message_at_a_time_and_each_once(ctx: Context) -> None:
    permits = Permits()
    with Receiver([422], wait_for=permits) as slow:
        webhook_id = subscribe(ctx, slow.url)
        for i in range(5):
            happen(ctx, f"m{i}")
        with Courier(ctx, look_every_s=0.01), Courier(ctx, look_every_s=0.01):
            heard = []
            for _ in range(5):
                heard.append(slow.wait().headers["x-mlflow-delivery-id"])
                assert slow.take_all() == []
                permits.give(1)
                clock(ctx).sleep(0.19)  # another turn soon, perhaps of the other one, and none yet for what was refused
    assert len(set(heard)) == 5
    assert backlog(ctx, webhook_id).waiting == 1


def test_receivers_that_are_slow_get_one_message_and_are_then_behind_whoever_waits(
    ctx: Context, receiver: Receiver
) -> None:
    permits = Permits()
    with Receiver(wait_for=permits) as slow:
        hooks = [subscribe(ctx, slow.url) for _ in range(8)]  # as many as there are senders
        for i in range(10):
            happen(ctx, f"m{i}")
        with Courier(ctx, look_every_s=0.01):
            for _ in range(8):
                slow.wait()
            subscribe(ctx, receiver.url)
            happen(ctx, "late")
            clock(ctx).sleep(1.0)
            permits.give(8)
            assert receiver.wait().message["data"]["name"] == "late"
            assert {backlog(ctx, hook).last_error for hook in hooks} == {""}  # and not because they gave up waiting
            permits.give(100)


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


def test_an_address_that_may_be_sent_to_no_more_is_not_written_into_the_log(
    ctx: Context, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    webhook_id = subscribe(ctx, f"{receiver.url}/T0KEN?token=T0KEN")
    happen(ctx)
    deliver_due(replace(ctx, webhook_private_addresses=False))
    assert "http://127.0.0.1" in caplog.text
    assert "T0KEN" not in caplog.text + backlog(ctx, webhook_id).last_error


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
            for i in range(6):
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


def test_webhooks_that_are_tried_keep_nobody_else_waiting(ctx: Context) -> None:
    may_answer = threading.Event()
    outcomes = []
    app = make_app(ctx, settings=Settings(webhook_private_addresses=True))
    with Receiver(wait_for=may_answer) as slow, serve_in_thread(app) as server:

        def attempt() -> None:
            with Client(HttpTransport(server.url, user="ann"), ctx.clock) as client:
                outcomes.append(client.webhooks.test_webhook(webhook_id).success)

        webhook_id = subscribe(ctx, slow.url)
        trying = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in trying:
            thread.start()
        slow.wait()
        with Client(HttpTransport(server.url, user="ann"), ctx.clock) as client:
            client.registry.ensure_model("churn")
        assert outcomes == []
        may_answer.set()
        for thread in trying:
            thread.join()
    app.close()
    assert outcomes == [True] * 8


def test_a_budget_that_is_exceeded_is_tried_in_mlflows_form(ctx: Context, receiver: Receiver) -> None:
    webhook_id = subscribe(ctx, receiver.url)
    try_webhook(ctx, webhook_id, "budget_policy.exceeded", among=outbox.MLFLOW_EVENTS)
    assert receiver.wait().message["data"]["budget_policy_id"] == "bp-abc123"


# -- what is really done ----------------------------------------------------------------------------------------------


def release(client: Client, verdict: Verdict | None = None) -> Release:
    content = Content(kind="tree", digest="a" * 64, size_bytes=10, files=2)
    return client.registry.create_release(
        Release(
            model="churn",
            version=0,
            content=content,
            run_id="r" * 32,
            created_at=5,
            created_by="ann",
            flavor="sklearn",
            verdict=verdict,
            commit="abc",
        )
    )


def start_rollout(client: Client) -> Rollout:
    return client.delivery.create_rollout(
        Rollout(
            rollout_id="r1",
            model="churn",
            environment="production",
            version=release(client).version,
            baseline_version=None,
            strategy="canary",
            steps=(5, 100),
            bake_s=60.0,
            false_rollback_rate=0.01,
            state="pending",
            step=-1,
            revision=0,
            created_at=1,
            created_by="ann",
            updated_at=1,
        )
    )


# Each does something with the client and returns what is to be told of it.
Deed = Callable[[Client], dict[str, object]]


def own(subject: str, details: dict[str, object]) -> dict[str, object]:
    return {"subject": subject, "by": "ann", "details": details}


def finish_a_run(client: Client) -> dict[str, object]:
    run_id = client.tracking.create_run("0")
    for _ in range(2):
        client.tracking.finish_run(run_id, "FAILED")
    return own(run_id, {"status": "FAILED"})


def register_a_version(client: Client) -> dict[str, object]:
    client.registry.ensure_model("churn")
    request = mlflow.CreateVersion(name="churn", source="s3://b/x", run_id="r", description="d")
    client.transport.call(mlflow.CREATE_VERSION, request)
    return {"name": "churn", "version": "1", "source": "s3://b/x", "run_id": "r", "tags": {}, "description": "d"}


def make_a_release(client: Client) -> dict[str, object]:
    release(client)
    return own("churn@1", {"digest": "a" * 64, "commit": "abc"})


def let_gates_decide(client: Client) -> dict[str, object]:
    checks = (
        Check(gate="auc", kind="bound", status="failed", reason="too low"),
        Check(gate="size", kind="bound", status="passed", reason="small"),
    )
    verdict = Verdict(passed=False, checks=checks, metrics={}, champion_version=None, rows=10, decided_at=1)
    release(client)  # of which no gate said anything
    release(client, verdict)
    return own("churn@2", {"passed": False, "refused_by": "auc"})


def approve_a_version(client: Client) -> dict[str, object]:
    release(client)
    word = Approval(model="churn", version=1, environment="production", approver="bob", approved_at=1, comment="fine")
    for _ in range(2):
        client.registry.approve(word)
    return own("churn@1", {"environment": "production", "approver": "bob", "comment": "fine"})


def move_an_alias(client: Client) -> dict[str, object]:
    release(client)
    for _ in range(2):
        client.registry.set_alias("churn", "champion", 1, reason="better")
    return own("churn", {"alias": "champion", "from": None, "to": 1, "reason": "better"})


def begin_a_rollout(client: Client) -> dict[str, object]:
    start_rollout(client)
    return own("churn/production", {"rollout_id": "r1", "version": 1, "strategy": "canary"})


def advance_a_rollout(client: Client) -> dict[str, object]:
    rollout = start_rollout(client)
    moved = replace(rollout, state="progressing", step=0, revision=1)
    move = RolloutTransition(
        rollout_id="r1",
        revision=1,
        from_state="pending",
        to_state="progressing",
        step=0,
        at=2,
        by="ann",
        reason="first step",
        evidence={"requests": 100},
    )
    client.delivery.advance_rollout(moved, move, traffic=None)
    details = {
        "rollout_id": "r1",
        "version": 1,
        "from": "pending",
        "to": "progressing",
        "step": 0,
        "reason": "first step",
    }
    return own("churn/production", details)


ALERT = Alert(alert_id="a1", model="churn", environment="production", kind="drift", summary="age", opened_at=1)


def open_an_alert(client: Client) -> dict[str, object]:
    for alert in (ALERT, replace(ALERT, alert_id="a2")):
        client.monitoring.open_alert(alert)
    return own("churn/production", {"alert_id": "a1", "kind": "drift", "summary": "age"})


def close_an_alert(client: Client) -> dict[str, object]:
    client.monitoring.open_alert(ALERT)
    for at in (9, 10):
        client.monitoring.close_alerts("churn", "production", "drift", at=at)
    return own("churn/production", {"alert_id": "a1", "kind": "drift"})


DEEDS: dict[str, Deed] = {
    "run.finished": finish_a_run,
    "model_version.created": register_a_version,
    "release.created": make_a_release,
    "gate.decided": let_gates_decide,
    "version.approved": approve_a_version,
    "alias.moved": move_an_alias,
    "rollout.created": begin_a_rollout,
    "rollout.changed": advance_a_rollout,
    "alert.opened": open_an_alert,
    "alert.closed": close_an_alert,
}


def test_every_event_of_our_own_is_done_here() -> None:
    assert set(outbox.OWN_EVENTS) <= set(DEEDS)


@pytest.mark.parametrize("event", DEEDS)
def test_what_is_done_over_http_is_told_once_and_signed(ctx: Context, receiver: Receiver, event: str) -> None:
    app = make_app(ctx, settings=Settings(webhook_private_addresses=True))
    with serve_in_thread(app) as server, Client(HttpTransport(server.url, user="ann"), ctx.clock) as client:
        client.webhooks.add_webhook("hook", receiver.url, [event], secret="s3cret")
        told = DEEDS[event](client)
        with app.courier():
            got = receiver.wait()
    app.close()
    assert not deliver_due(ctx)
    assert receiver.take_all() == []
    assert got.headers["x-mlflow-signature"] == signature(got, secret=b"s3cret")
    entity, _, action = event.partition(".")
    timestamp = "2023-11-14T22:13:20+00:00"
    assert got.message == {"entity": entity, "action": action, "timestamp": timestamp, "data": told}
