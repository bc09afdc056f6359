"""What is to be told is written with the event, sent at least once, and not for ever."""

import json
import threading

import pytest

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import outbox, webhooks
from lockgate.metadata.events import append_event
from lockgate.metadata.models import create_model
from lockgate.metadata.outbox import FIRST_WAIT_MS, FORGET_AFTER_MS, GIVE_UP_AFTER_MS, LONGEST_WAIT_MS

LEASE = 60_000


def add(tx, *events: str, url: str = "https://example.com/hook") -> str:
    return webhooks.create_webhook(tx, name="hook", url=url, events=events, secret="s")


def claim(write, at: int, limit: int = 100):
    with write(at=at) as tx:
        due = outbox.due_webhooks(tx.connection, now=at)
        return tuple(item for id in due for item in outbox.claim_due(tx, id, limit=limit, lease_ms=LEASE))


def test_only_who_asked_and_is_active_is_told(write) -> None:
    with write() as tx:
        wanted = add(tx, "registered_model.created")
        add(tx, "model_version.created")
        disabled = add(tx, "registered_model.created")
        webhooks.update_webhook(tx, disabled, status="DISABLED")
        create_model(tx, "m", description="d", tags={"a": "1"})
    (delivery,) = claim(write, 1)
    assert (delivery.webhook_id, delivery.event, delivery.secret) == (wanted, "registered_model.created", "s")
    assert json.loads(delivery.body) == {
        "entity": "registered_model",
        "action": "created",
        "timestamp": "1970-01-01T00:00:00.001000+00:00",
        "data": {"name": "m", "tags": {"a": "1"}, "description": "d"},
    }


def test_an_event_that_is_rolled_back_is_told_to_nobody(write) -> None:
    with write() as tx:
        add(tx, "registered_model.created")
    with pytest.raises(InvalidInput), write() as tx:
        create_model(tx, "m")
        create_model(tx, "bad:name")
    assert claim(write, 10) == ()


def test_lines_of_the_history_can_be_asked_for(write) -> None:
    with write() as tx:
        add(tx, "run.finished")
        append_event(tx, "run.created", "r1")
        append_event(tx, "run.finished", "r1", {"status": "FINISHED"})
    (delivery,) = claim(write, 1)
    assert json.loads(delivery.body)["data"] == {"subject": "r1", "by": "ann", "details": {"status": "FINISHED"}}


def test_what_is_claimed_is_nobody_else_s_until_the_lease_ends(write) -> None:
    with write() as tx:
        add(tx, "registered_model.created")
        create_model(tx, "m")
    (first,) = claim(write, 1)
    assert claim(write, LEASE) == ()
    (second,) = claim(write, 1 + LEASE)
    assert second == first  # the same id and body


def test_what_is_delivered_is_gone_and_what_was_not_tried_is_given_back(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "a")
        create_model(tx, "b")
    first, second = claim(write, 1)
    with write(at=2) as tx:
        outbox.mark_delivered(tx, first.delivery_id)
        outbox.release(tx, [second.delivery_id])
    assert claim(write, 2) == (second,)
    with database.read() as connection:
        assert outbox.backlog(connection, [webhook_id]) == {webhook_id: outbox.Backlog(1, 0, "")}


def test_waiting_doubles_up_to_a_bound(write, database) -> None:
    with write() as tx:
        add(tx, "registered_model.created")
        create_model(tx, "m")
    at = 1
    for attempt in range(14):
        (delivery,) = claim(write, at)
        assert delivery.attempts == attempt
        with write(at=at) as tx:
            outbox.mark_failed(tx, delivery, "no answer")
        wait = min(FIRST_WAIT_MS * 2**attempt, LONGEST_WAIT_MS)
        with database.read() as connection:
            assert not outbox.due_webhooks(connection, now=at + wait - 1)
            assert outbox.due_webhooks(connection, now=at + wait)
        at += wait


def test_one_dead_receiver_costs_one_attempt_a_round(write) -> None:
    with write() as tx:
        dead, alive = (add(tx, "registered_model.created", url=f"https://{name}.example.com") for name in ("a", "b"))
        for name in ("m", "n"):
            create_model(tx, name)
    claimed = claim(write, 1)
    assert sorted(item.webhook_id for item in claimed) == sorted([dead, dead, alive, alive])
    with write(at=1) as tx:
        outbox.mark_failed(tx, next(item for item in claimed if item.webhook_id == dead), "no answer")
        outbox.release(tx, [item.delivery_id for item in claimed if item.webhook_id == alive])
    assert {item.webhook_id for item in claim(write, 2)} == {alive}
    assert [item.attempts for item in claim(write, 1 + FIRST_WAIT_MS)] in ([1, 0], [0, 1])


def test_after_a_day_it_is_given_up_and_after_a_month_forgotten(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
    late = 1 + GIVE_UP_AFTER_MS
    (delivery,) = claim(write, late)
    with write(at=late) as tx:
        outbox.mark_failed(tx, delivery, "no answer")
    assert claim(write, late + GIVE_UP_AFTER_MS) == ()
    with database.read() as connection:
        assert outbox.backlog(connection, [webhook_id])[webhook_id] == outbox.Backlog(0, 1, "no answer")
        assert not outbox.due_webhooks(connection, now=late + GIVE_UP_AFTER_MS)
    with write(at=1 + FORGET_AFTER_MS) as tx:
        create_model(tx, "n")
        outbox.mark_failed(tx, outbox.claim_due(tx, webhook_id, limit=1, lease_ms=1)[0], "again")
    with database.read() as connection:
        assert outbox.backlog(connection, [webhook_id])[webhook_id] == outbox.Backlog(1, 0, "again")


def test_a_removed_webhook_takes_what_it_was_not_told_along(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
        webhooks.delete_webhook(tx, webhook_id)
    assert claim(write, 1) == ()
    with database.read() as connection, pytest.raises(NotFound):
        webhooks.get_webhook(connection, webhook_id)


def test_what_a_disabled_webhook_waits_for_comes_when_it_is_active_again(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
        webhooks.update_webhook(tx, webhook_id, status="DISABLED")
    assert claim(write, 1) == ()
    with database.read() as connection:
        assert not outbox.due_webhooks(connection, now=1)
    with write() as tx:
        webhooks.update_webhook(tx, webhook_id, status="ACTIVE")
    assert len(claim(write, 1)) == 1


def test_senders_that_race_share_the_rows(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        for i in range(40):
            create_model(tx, f"m{i}")
    taken: list[str] = []

    def send() -> None:
        while True:
            with database.write(at=5, by="sender") as tx:
                claimed = outbox.claim_due(tx, webhook_id, limit=3, lease_ms=LEASE)
            if not claimed:
                return
            taken.extend(item.delivery_id for item in claimed)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 40


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a" * 64, "é"])
def test_bad_names_are_refused(write, name: str) -> None:
    with write() as tx, pytest.raises(InvalidInput, match="cannot name a webhook"):
        webhooks.create_webhook(tx, name=name, url="https://example.com", events=["prompt.created"])


@pytest.mark.parametrize("events", [[], ["nothing.happened"], ["run.finished", "x"]])
def test_events_must_be_known_and_some(write, events: list[str]) -> None:
    with write() as tx, pytest.raises(InvalidInput, match=r"run\.finished|at least one"):
        webhooks.create_webhook(tx, name="a", url="https://example.com", events=events)
