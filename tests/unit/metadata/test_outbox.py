"""What is to be told is written with the event, sent at least once, and not for ever."""

import json
import threading

import pytest
from sqlalchemy import event, select

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import outbox, tables, webhooks
from lockgate.metadata.aliases import set_alias
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event, list_events
from lockgate.metadata.models import create_model, delete_model
from lockgate.metadata.outbox import (
    FIRST_WAIT_MS,
    FORGET_AFTER_MS,
    GIVE_UP_AFTER,
    GIVE_UP_AFTER_MS,
    LEASE_MS,
    LONGEST_WAIT_MS,
    Backlog,
    Delivery,
)
from lockgate.metadata.versions import create_version

A_DAY_OF_TRYING = tuple(min(FIRST_WAIT_MS * 2**i, LONGEST_WAIT_MS) for i in range(GIVE_UP_AFTER - 1))


def add(tx, *events: str, url: str = "https://example.com/hook") -> str:
    return webhooks.create_webhook(tx, name="hook", url=url, events=events, secret="s")


def claim(write, at: int) -> tuple[Delivery, ...]:
    """A message to each who waits for one."""
    with write(at=at) as tx:
        due = outbox.due_webhooks(tx.connection, now=at)
        claimed = [outbox.claim(tx, webhook_id) for webhook_id in due]
    assert None not in claimed  # nobody is said to wait for nothing
    return tuple(claimed)


def fail(write, at: int, *, was_heard: bool) -> Delivery:
    """Somebody's message, which fails."""
    (delivery,) = claim(write, at)
    with write(at=at) as tx:
        outbox.mark_failed(tx, delivery, "no answer", was_heard=was_heard)
    return delivery


def fail_for_a_day(write, at: int, *, was_heard: bool) -> int:
    """As often as it takes to give up, the first time at `at`; when the last one was."""
    for wait in (0, *A_DAY_OF_TRYING):
        at += wait
        fail(write, at, was_heard=was_heard)
    return at


def name_in(delivery: Delivery) -> str:
    return json.loads(delivery.body)["data"]["name"]


def backlog(database, webhook_id: str) -> Backlog:
    with database.read() as connection:
        return outbox.backlog(connection, [webhook_id])[webhook_id]


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


def test_a_receiver_is_nobody_else_s_until_the_lease_ends(write) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        for name in ("m", "n"):
            create_model(tx, name)
    (first,) = claim(write, 1)
    assert claim(write, LEASE_MS) == ()
    with write(at=LEASE_MS) as tx:
        assert outbox.claim(tx, webhook_id) is None
    (second,) = claim(write, 1 + LEASE_MS)
    assert second._replace(leased_until=first.leased_until) == first  # the same id and body


def test_what_a_clock_that_ran_ahead_has_put_off_is_sent_when_it_is_right_again(write) -> None:
    ahead = 10 * 365 * 86_400_000
    with write() as tx:
        add(tx, "registered_model.created")
        create_model(tx, "before")
    fail(write, ahead, was_heard=False)
    with write(at=ahead) as tx:
        create_model(tx, "then")
    sent = []
    for _ in range(2):
        (delivery,) = claim(write, 2)
        sent.append(name_in(delivery))
        with write(at=2) as tx:
            outbox.mark_delivered(tx, delivery)
    assert sorted(sent) == ["before", "then"]


def test_a_lease_of_a_clock_that_ran_ahead_ends_when_it_is_right_again(write) -> None:
    with write() as tx:
        add(tx, "registered_model.created")
        create_model(tx, "m")
    (lost,) = claim(write, 10 * 365 * 86_400_000)
    (found,) = claim(write, 2)
    assert found.delivery_id == lost.delivery_id


def test_a_lease_of_a_server_whose_clock_is_a_minute_ahead_is_respected(write) -> None:
    with write() as tx:
        add(tx, "registered_model.created")
        create_model(tx, "m")
    claim(write, 60_000)
    assert claim(write, 1) == ()


def test_a_sender_that_comes_back_after_its_lease_leaves_the_next_one_s_alone(write) -> None:
    with write() as tx:
        add(tx, "registered_model.created")
        for name in ("m", "n"):
            create_model(tx, name)
    (late,) = claim(write, 1)
    claim(write, 1 + LEASE_MS)
    with write(at=2 + LEASE_MS) as tx:
        outbox.mark_delivered(tx, late)
    assert claim(write, 2 + LEASE_MS) == ()
    (other,) = claim(write, 1 + 2 * LEASE_MS)
    assert other.delivery_id != late.delivery_id


def test_what_is_delivered_is_gone_and_the_next_one_comes(write, database) -> None:
    with write(at=1) as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "a")
    with write(at=2) as tx:
        create_model(tx, "b")
    for name in ("a", "b"):
        (delivery,) = claim(write, 3)
        assert name_in(delivery) == name
        with write(at=3) as tx:
            outbox.mark_delivered(tx, delivery)
    assert claim(write, 3) == ()
    assert backlog(database, webhook_id) == Backlog(0, 0, "")


@pytest.mark.parametrize("was_heard", [True, False])
def test_waiting_doubles_up_to_a_bound(write, database, was_heard: bool) -> None:
    with write() as tx:
        add(tx, "registered_model.created")
        create_model(tx, "m")
    at = 1
    for attempt in range(14):
        assert fail(write, at, was_heard=was_heard).attempts == attempt
        wait = min(FIRST_WAIT_MS * 2**attempt, LONGEST_WAIT_MS)
        with database.read() as connection:
            assert not outbox.due_webhooks(connection, now=at + wait - 1)
            assert outbox.due_webhooks(connection, now=at + wait)
        at += wait


def test_a_message_that_is_refused_waits_alone(write) -> None:
    with write(at=1) as tx:
        add(tx, "registered_model.created")
        create_model(tx, "refused")
    with write(at=2) as tx:
        create_model(tx, "fine")
    fail(write, 2, was_heard=True)
    (other,) = claim(write, 2)
    assert name_in(other) == "fine"


def test_a_dead_receiver_costs_one_attempt_a_round_and_one_row_for_each(write, database) -> None:
    with write() as tx:
        dead, alive = (add(tx, "registered_model.created", url=f"https://{name}.example.com") for name in ("a", "b"))
        for name in ("m", "n", "o"):
            create_model(tx, name)
    claimed = {item.webhook_id: item for item in claim(write, 1)}
    with write(at=1) as tx:
        outbox.mark_failed(tx, claimed[dead], "no answer", was_heard=False)
        outbox.mark_delivered(tx, claimed[alive])
    with database.read() as connection:
        untouched = connection.exec_driver_sql(
            f"SELECT count(*) FROM webhook_deliveries WHERE webhook_id = '{dead}' AND due_at = 1 AND attempts = 0"
        ).scalar_one()
    assert untouched == 2
    (again,) = claim(write, 1 + FIRST_WAIT_MS - 1)
    assert again.webhook_id == alive
    (probe,) = (item for item in claim(write, 1 + FIRST_WAIT_MS) if item.webhook_id == dead)
    assert probe.delivery_id != claimed[dead].delivery_id  # one that is never answered blocks no other


def test_who_answers_again_has_no_failures_left(write) -> None:
    with write() as tx:
        add(tx, "registered_model.created")
        create_model(tx, "m")
    at = 1
    for i in range(5):
        fail(write, at, was_heard=False)
        at += FIRST_WAIT_MS * 2**i
    with write(at=at) as tx:
        create_model(tx, "n")
    fail(write, at, was_heard=True)
    fail(write, at, was_heard=False)
    with write(at=at + FIRST_WAIT_MS) as tx:
        assert outbox.due_webhooks(tx.connection, now=at + FIRST_WAIT_MS)


def test_what_is_refused_for_a_day_is_given_up_and_after_a_month_forgotten(write, database) -> None:
    assert sum(A_DAY_OF_TRYING) >= GIVE_UP_AFTER_MS > sum(A_DAY_OF_TRYING[:-1])
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
    late = fail_for_a_day(write, 1, was_heard=True)
    assert backlog(database, webhook_id) == Backlog(0, 1, "no answer")
    assert claim(write, 2 * late) == ()
    for at, given_up in ((FORGET_AFTER_MS, 1), (1 + FORGET_AFTER_MS, 0)):
        with write(at=at) as tx:
            create_model(tx, f"n{at}")
            assert not outbox.tidy(tx)
        assert backlog(database, webhook_id).given_up == given_up
    assert backlog(database, webhook_id) == Backlog(2, 0, "")


def test_what_waits_for_a_receiver_that_is_gone_is_given_up_after_a_day_of_trying(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        for i in range(3):
            create_model(tx, f"m{i}")
    late = fail_for_a_day(write, 1, was_heard=False)
    with write(at=late) as tx:
        create_model(tx, "young")
        assert not outbox.tidy(tx)
    assert backlog(database, webhook_id) == Backlog(1, 3, "no answer")


def test_age_alone_gives_nothing_up(write, database) -> None:
    """No server ran for a while, and when one does the receiver is not there at first."""
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        for i in range(3):
            create_model(tx, f"m{i}")
    late = 1 + 2 * GIVE_UP_AFTER_MS
    for was_heard in (True, False):
        fail(write, late, was_heard=was_heard)
    with write(at=late) as tx:
        assert not outbox.tidy(tx)
    assert backlog(database, webhook_id).waiting == 3


def test_what_is_old_is_tidied_up_a_part_at_a_time(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
        tx.connection.exec_driver_sql(
            "INSERT INTO webhook_deliveries SELECT n || 'x', webhook_id, event, body, created_at, NULL, 0, 'refused' "
            "FROM webhook_deliveries, (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1500) "
            "SELECT n FROM c) AS numbers"
        )
    left = []
    has_more = True
    while has_more:
        with write(at=1 + FORGET_AFTER_MS) as tx:
            has_more = outbox.tidy(tx)
        left.append(backlog(database, webhook_id)[:2])
    assert left == [(1, 500), (1, 0)]


def test_a_removed_webhook_takes_what_it_was_not_told_along(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
        webhooks.delete_webhook(tx, webhook_id)
    assert claim(write, 1) == ()
    with database.read() as connection, pytest.raises(NotFound):
        webhooks.get_webhook(connection, webhook_id)


def multiply(tx: Tx, count: int) -> None:
    """So many more messages like the one that there is."""
    tx.connection.exec_driver_sql(
        "INSERT INTO webhook_deliveries SELECT n || 'x', webhook_id, event, body, created_at, due_at, attempts, error "
        f"FROM webhook_deliveries, (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) "
        "SELECT n FROM c) AS numbers"
    )


def test_a_webhook_that_very_much_waits_for_is_gone_at_once_and_its_messages_a_part_at_a_time(write, database) -> None:
    with write() as tx:
        webhook_id, kept = (add(tx, "registered_model.created"), add(tx, "run.finished"))
        create_model(tx, "m")
        multiply(tx, 2499)
    with write() as tx:
        webhooks.delete_webhook(tx, webhook_id)
        create_model(tx, "n")
    with database.read() as connection:
        with pytest.raises(NotFound):
            webhooks.get_webhook(connection, webhook_id)
        assert [row["webhook_id"] for row in webhooks.list_webhooks(connection).rows] == [kept]
    assert claim(write, 1) == ()
    left = [backlog(database, webhook_id).waiting]
    while True:
        with database.write(at=1, by="tidier", decision=False) as tx:
            if not outbox.tidy(tx):
                break
        left.append(backlog(database, webhook_id).waiting)
    assert left == [1500, 500, 0]
    with database.read() as connection:
        assert connection.scalars(select(tables.webhooks.c.webhook_id)).all() == [kept]


def test_a_removed_webhook_cannot_be_changed_or_removed_again(write) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
        multiply(tx, 1500)
        webhooks.delete_webhook(tx, webhook_id)
        with pytest.raises(NotFound):
            webhooks.delete_webhook(tx, webhook_id)
        with pytest.raises(NotFound):
            webhooks.update_webhook(tx, webhook_id, status="ACTIVE", events=["run.finished"])


def test_what_is_old_or_has_failed_is_found_without_reading_all_messages(write, database) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by its statistics, and reads small tables whole")
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
        tx.connection.exec_driver_sql("ANALYZE")
    said: list[tuple[str, tuple[object, ...]]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *a: said.append((a[2], a[3])))
    with write() as tx:
        outbox.tidy(tx)
    backlog(database, webhook_id)
    with database.read() as connection:
        asked = [item for item in said if "FROM webhook_deliveries" in item[0]]
        plans = [
            [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            for text, values in asked
        ]
    searched = [step for plan in plans for step in plan if "USING INDEX ix_" in step]
    assert [step.split("INDEX ix_webhook_deliveries_")[1] for step in searched] == [
        "waiting (webhook_id=? AND created_at<?)",
        "given_up (created_at<?)",
        "waiting (webhook_id=? AND created_at<?)",
        "failed (webhook_id=?)",
    ]


def test_a_model_that_goes_with_all_its_aliases_tells_of_each_in_as_many_statements(write, database) -> None:
    with write() as tx:
        add(tx, "alias.moved")
        for model, count in (("few", 2), ("many", 9)):
            create_model(tx, model)
            create_version(tx, model, source="s3://b/x")
            for i in range(count):
                set_alias(tx, model, f"a{i}", 1)
    said: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    counts = []
    for model in ("few", "many"):
        said.clear()
        with write(at=2) as tx:
            delete_model(tx, model)
        counts.append(len(said))
    assert counts[0] == counts[1]
    with database.read() as connection:
        happened = [item for item in list_events(connection, after=0, limit=100) if item.at == 2]
        t = tables.webhook_deliveries.c
        bodies = connection.scalars(select(t.body).where(t.created_at == 2)).all()
    moved = [{"alias": f"a{i}", "from": 1, "to": None, "reason": "model deleted"} for i in range(9)]
    assert [item.details for item in happened if item.subject == "many"] == [*moved, {}]
    told = [json.loads(body)["data"] for body in bodies]
    assert sorted(item["details"]["alias"] for item in told if item["subject"] == "many") == [f"a{i}" for i in range(9)]


def test_what_a_disabled_webhook_waits_for_comes_when_it_is_active_again(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
        webhooks.update_webhook(tx, webhook_id, status="DISABLED")
    assert claim(write, 1) == ()
    with write(at=FORGET_AFTER_MS) as tx:
        assert outbox.claim(tx, webhook_id) is None
        outbox.tidy(tx)
        webhooks.update_webhook(tx, webhook_id, status="ACTIVE")
    assert len(claim(write, FORGET_AFTER_MS)) == 1


def test_what_a_disabled_webhook_waits_for_is_forgotten_after_a_month(write, database) -> None:
    with write() as tx:
        waiting, disabled = add(tx, "registered_model.created"), add(tx, "registered_model.created")
        create_model(tx, "m")
        webhooks.update_webhook(tx, disabled, status="DISABLED")
    with write(at=1 + FORGET_AFTER_MS) as tx:
        outbox.tidy(tx)
    assert (backlog(database, waiting).waiting, backlog(database, disabled).waiting) == (1, 0)


@pytest.mark.parametrize("change", [{"url": "https://b.example.com"}, {"secret": "t"}, {"status": "ACTIVE"}])
@pytest.mark.parametrize("was_heard", [True, False])
def test_what_failed_is_tried_at_once_when_the_receiver_is_mended(write, change: dict, was_heard: bool) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
    at = 1
    for i in range(8):
        fail(write, at, was_heard=was_heard)
        at += FIRST_WAIT_MS * 2**i
    at -= FIRST_WAIT_MS * 2**7 - 1
    assert claim(write, at) == ()
    with write(at=at) as tx:
        webhooks.update_webhook(tx, webhook_id, **change)
    assert len(claim(write, at)) == 1


def test_a_failure_at_the_old_address_is_none_of_the_new_one(write) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        create_model(tx, "m")
    at = 1
    for i in range(8):
        fail(write, at, was_heard=False)
        at += FIRST_WAIT_MS * 2**i
    (held,) = claim(write, at)
    with write(at=at) as tx:
        webhooks.update_webhook(tx, webhook_id, url="https://b.example.com")
        create_model(tx, "n")
    assert claim(write, at) == ()  # one at a time
    with write(at=at) as tx:
        outbox.mark_failed(tx, held, "no answer", was_heard=False)
    (other,) = claim(write, at + FIRST_WAIT_MS)
    assert (name_in(other), other.url) == ("n", "https://b.example.com")


def test_an_event_that_is_taken_off_is_told_no_more(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created", "run.finished")
        create_model(tx, "m")
        append_event(tx, "run.finished", "r1")
        webhooks.update_webhook(tx, webhook_id, events=["run.finished"])
    (delivery,) = claim(write, 1)
    assert delivery.event == "run.finished"
    assert backlog(database, webhook_id).waiting == 1


def test_senders_that_race_send_each_message_once_and_one_at_a_time(write, database) -> None:
    with write() as tx:
        webhook_id = add(tx, "registered_model.created")
        for i in range(40):
            create_model(tx, f"m{i}")
    taken: list[str] = []
    at_once: list[int] = []
    sending: set[str] = set()

    def send() -> None:
        while len(taken) < 40:
            with database.write(at=5, by="sender", decision=False) as tx:
                claimed = outbox.claim(tx, webhook_id)
            if claimed is None:
                continue
            sending.add(claimed.delivery_id)
            at_once.append(len(sending))
            taken.append(claimed.delivery_id)
            sending.remove(claimed.delivery_id)
            with database.write(at=5, by="sender", decision=False) as tx:
                outbox.mark_delivered(tx, claimed)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 40
    assert set(at_once) == {1}


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a" * 64, "é"])
def test_bad_names_are_refused(write, name: str) -> None:
    with write() as tx, pytest.raises(InvalidInput, match="cannot name a webhook"):
        webhooks.create_webhook(tx, name=name, url="https://example.com", events=["prompt.created"])


@pytest.mark.parametrize("events", [[], ["nothing.happened"], ["run.finished", "x"]])
def test_events_must_be_known_and_some(write, events: list[str]) -> None:
    with write() as tx, pytest.raises(InvalidInput, match=r"run\.finished|at least one"):
        webhooks.create_webhook(tx, name="a", url="https://example.com", events=events)
