"""The outbox of webhooks: what is to be told is written in the transaction of the event, so that nothing is lost.

A message is sent at least once, and a receiver gets one after the other, from all servers of one database together.
Whoever sends to a receiver has leased it; a sender that dies is followed by another when the lease is over.

    claimed -> delivered: the message is gone
            -> refused: it waits, twice as long each time, and is given up after a day of that
            -> no answer: it waits as well, and so does its receiver with all that is to be told to it; what was made
               a day ago is given up when a day of trying is over

What was given up stays until it is a month old, for people to look at. There may be millions of messages: they are
given up, forgotten and removed with their webhook a part at a time, for SQLite has one writer.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from lockgate.metadata.database import Tx
from lockgate.metadata.driver import prefer_walks
from lockgate.metadata.tables import webhook_deliveries, webhook_events, webhooks

# What MLflow's own server tells of; `budget_policy.exceeded` may be asked for and never happens here.
MLFLOW_EVENTS = (
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
    "prompt.created",
    "prompt_version.created",
    "prompt_tag.set",
    "prompt_tag.deleted",
    "prompt_version_tag.set",
    "prompt_version_tag.deleted",
    "prompt_alias.created",
    "prompt_alias.deleted",
    "budget_policy.exceeded",
)
# Lines of our own history that can be subscribed to.
OWN_EVENTS = (
    "run.finished",
    "release.created",
    "version.approved",
    "gate.decided",
    "alias.moved",
    "rollout.created",
    "rollout.changed",
    "alert.opened",
    "alert.closed",
)

ACTIVE, DISABLED = "ACTIVE", "DISABLED"
_REMOVED = "REMOVED"  # for nobody to see: messages of it are still to be deleted
FIRST_WAIT_MS = 1_000
LONGEST_WAIT_MS = 600_000
GIVE_UP_AFTER = 154  # failures in a row, between which lies a day: time in which nobody tried does not count
GIVE_UP_AFTER_MS = 86_400_000
FORGET_AFTER_MS = 30 * 86_400_000
# Longer than one attempt.
LEASE_MS = 60_000
_MAX_ERROR = 500
_TIDIED_AT_ONCE = 1_000


class Delivery(NamedTuple):
    """One message to one receiver. Its id and body are the same at every attempt."""

    delivery_id: str
    webhook_id: str
    event: str
    url: str
    secret: str
    body: str
    attempts: int = 0  # those that failed
    leased_until: int = 0


class Backlog(NamedTuple):
    """What one webhook has not been told: still to come, and given up."""

    waiting: int
    given_up: int
    last_error: str


def enqueue(tx: Tx, event: str, *messages: Mapping[str, object]) -> None:
    """Tell every active webhook that asked for `event` what happened, once this transaction is committed."""
    asked = webhook_events.c.webhook_id == webhooks.c.webhook_id
    query = select(webhooks.c.webhook_id).join(webhook_events, asked)
    receivers = tx.connection.scalars(
        query.where(webhook_events.c.event == event, webhooks.c.status == ACTIVE).order_by(webhooks.c.created_at)
    ).all()
    if not receivers:
        return
    bodies = [encode_body(event, data, at=tx.at) for data in messages]
    tx.connection.execute(
        insert(webhook_deliveries),
        [
            {
                "delivery_id": str(uuid.uuid4()),
                "webhook_id": webhook_id,
                "event": event,
                "body": body,
                "created_at": tx.at,
                "due_at": tx.at,
                "attempts": 0,
                "error": "",
            }
            for body in bodies
            for webhook_id in receivers
        ],
    )


def encode_body(event: str, data: Mapping[str, object], *, at: int) -> str:
    """The message in MLflow's form."""
    entity, _, action = event.partition(".")
    timestamp = datetime.fromtimestamp(at / 1000, UTC).isoformat()
    message = {"entity": entity, "action": action, "timestamp": timestamp, "data": dict(data)}
    return msgspec.json.encode(message).decode()


def due_webhooks(connection: Connection, *, now: int) -> Sequence[str]:
    """Those that something is due for and nobody sends to. Cheap enough to be asked all the time."""
    t = webhook_deliveries.c
    waits = exists().where(t.webhook_id == webhooks.c.webhook_id, or_(*_over(t.due_at, now)))
    return connection.scalars(select(webhooks.c.webhook_id).where(*_is_free(now), waits)).all()


def claim(tx: Tx, webhook_id: str) -> Delivery | None:
    """The message that has been due the longest; the receiver is leased until it is `mark`ed.

    None where nothing is due, the receiver is left alone or somebody else sends to it.
    """
    # Locked first (SQLite has one writer and ignores it): only what is read after that is what the last one left.
    free = select(webhooks.c.url, webhooks.c.secret).where(webhooks.c.webhook_id == webhook_id, *_is_free(tx.at))
    receiver = tx.connection.execute(free.with_for_update(key_share=True)).mappings().first()
    if receiver is None:
        return None
    t = webhook_deliveries.c
    waiting = select(t.delivery_id, t.event, t.body, t.attempts).where(t.webhook_id == webhook_id)
    for is_due in _over(t.due_at, tx.at):  # one by one: each is found at its end of the index
        message = tx.connection.execute(waiting.where(is_due).order_by(t.due_at).limit(1)).mappings().first()
        if message is not None:
            break
    else:
        return None
    leased_until = tx.at + LEASE_MS
    _set_receiver(tx, webhook_id, leased_until=leased_until)
    return Delivery(webhook_id=webhook_id, leased_until=leased_until, **receiver, **message)


def mark_delivered(tx: Tx, delivered: Delivery) -> None:
    _let_go(tx, delivered, failures=0)
    tx.connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.delivery_id == delivered.delivery_id))


def mark_failed(tx: Tx, failed: Delivery, error: str, *, was_heard: bool) -> None:
    """Try it again later, or give it up. Where the receiver was not heard, all else that waits for it waits as well."""
    # The receiver's row first, here as elsewhere: whoever removes it goes from there to its messages.
    failures = 0 if was_heard else _failures(tx, failed.webhook_id) + 1
    _let_go(tx, failed, failures=failures, due_at=tx.at + _wait_ms(failures))
    attempts = failed.attempts + 1
    due_at = tx.at + _wait_ms(attempts) if attempts < GIVE_UP_AFTER else None
    tx.connection.execute(
        update(webhook_deliveries)
        .where(webhook_deliveries.c.delivery_id == failed.delivery_id)
        .values(attempts=attempts, error=error[:_MAX_ERROR], due_at=due_at)
    )


def try_at_once(tx: Tx, webhook_id: str) -> None:
    """Whatever failed before: the receiver is another one now."""
    _set_receiver(tx, webhook_id, due_at=0, failures=0)
    t = webhook_deliveries.c
    tx.connection.execute(
        update(webhook_deliveries).where(t.webhook_id == webhook_id, t.due_at > tx.at).values(due_at=t.created_at)
    )


def is_shown() -> ColumnElement[bool]:
    """Whether a webhook is one for who asks."""
    return webhooks.c.status != _REMOVED


def remove(tx: Tx, webhook_id: str) -> None:
    """Nothing goes to the webhook any more and nobody sees it; where much waits for it, `tidy` deletes the rest."""
    gone = {"status": _REMOVED, "url": "", "secret": ""}
    tx.connection.execute(update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(**gone))
    tx.connection.execute(delete(webhook_events).where(webhook_events.c.webhook_id == webhook_id))
    _forget_removed(tx, webhook_id)


def tidy(tx: Tx) -> bool:
    """Give up and forget what is old, and what waits for nobody, a part at a time; whether there may be more.

    Given up is what a receiver without an answer should have had a day ago. Forgotten is what was given up, or waits
    for a webhook that is disabled, when it is a month old.
    """
    t, w = webhook_deliveries.c, webhooks.c
    # Locked first, as in `mark_failed`.
    removed = tx.connection.scalars(select(w.webhook_id).where(w.status == _REMOVED).with_for_update().limit(1)).first()
    if removed is not None:
        _forget_removed(tx, removed)
        return True
    lost = select(w.webhook_id).where(w.failures >= GIVE_UP_AFTER)
    disabled = select(w.webhook_id).where(w.status == DISABLED)
    waiting = _by_index("waiting", select(t.delivery_id).where(t.due_at.is_not(None)))
    given_up = _by_index("given_up", select(t.delivery_id).where(t.due_at.is_(None)))
    is_late, is_old = t.created_at <= tx.at - GIVE_UP_AFTER_MS, t.created_at <= tx.at - FORGET_AFTER_MS
    prefer_walks(tx.connection)
    deeds = (
        update(webhook_deliveries).where(_some(waiting.where(t.webhook_id.in_(lost), is_late))).values(due_at=None),
        delete(webhook_deliveries).where(_some(given_up.where(is_old))),
        delete(webhook_deliveries).where(_some(waiting.where(t.webhook_id.in_(disabled), is_old))),
    )
    return any(tx.connection.execute(deed).rowcount == _TIDIED_AT_ONCE for deed in deeds)


def backlog(connection: Connection, webhook_ids: Sequence[str]) -> dict[str, Backlog]:
    """What each webhook has not been told, with the error of the oldest that failed."""
    t = webhook_deliveries.c
    counts = (
        select(t.webhook_id, func.count(t.due_at), func.count().filter(t.due_at.is_(None)))
        .where(t.webhook_id.in_(webhook_ids))
        .group_by(t.webhook_id)
    )
    found = {webhook_id: Backlog(0, 0, "") for webhook_id in webhook_ids}
    for webhook_id, waiting, given_up in connection.execute(counts):
        has_failed = t.error != literal_column("''")  # said as the index does
        failed = _by_index("failed", select(t.error).where(t.webhook_id == webhook_id, has_failed))
        last_error = connection.scalar(failed.order_by(t.created_at).limit(1)) or ""
        found[webhook_id] = Backlog(waiting, given_up, last_error)
    return found


def _by_index(name: str, query: Select[str]) -> Select[str]:
    """SQLite is told by which index: what an administrator's ANALYZE once found, it believes for ever."""
    return query.with_hint(webhook_deliveries, f"INDEXED BY ix_webhook_deliveries_{name}", "sqlite")


def _some(found: Select[str]) -> ColumnElement[bool]:
    """Messages that are found, no more than are tidied up at once."""
    return webhook_deliveries.c.delivery_id.in_(found.limit(_TIDIED_AT_ONCE))


def _forget_removed(tx: Tx, webhook_id: str) -> None:
    """A part of what the webhook was not told, and itself with the last one."""
    its = select(webhook_deliveries.c.delivery_id).where(webhook_deliveries.c.webhook_id == webhook_id)
    if tx.connection.execute(delete(webhook_deliveries).where(_some(its))).rowcount < _TIDIED_AT_ONCE:
        tx.connection.execute(delete(webhooks).where(webhooks.c.webhook_id == webhook_id))


def _is_free(now: int) -> tuple[ColumnElement[bool], ...]:
    """Whether a webhook may be sent to now."""
    w = webhooks.c
    return w.status == ACTIVE, or_(*_over(w.due_at, now)), or_(*_over(w.leased_until, now))


def _over(time: ColumnElement[Any], now: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """It has come, or lies further ahead than anybody waits: a clock that was wrong has written that."""
    return time <= now, time > now + LONGEST_WAIT_MS


def _let_go(tx: Tx, claimed: Delivery, **values: int) -> None:
    """End the lease; one that is over may be somebody else's by now."""
    mine = webhooks.c.webhook_id == claimed.webhook_id, webhooks.c.leased_until == claimed.leased_until
    tx.connection.execute(update(webhooks).where(*mine).values(leased_until=0, **values))


def _set_receiver(tx: Tx, webhook_id: str, **values: int) -> None:
    tx.connection.execute(update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(**values))


def _failures(tx: Tx, webhook_id: str) -> int:
    """As they are now: somebody may have mended the address while we sent to the old one."""
    known = select(webhooks.c.failures).where(webhooks.c.webhook_id == webhook_id)
    return tx.connection.scalar(known.with_for_update(key_share=True)) or 0


def _wait_ms(failures: int) -> int:
    """How long to wait after so many failures in a row."""
    return min(FIRST_WAIT_MS << min(failures - 1, 20), LONGEST_WAIT_MS) if failures else 0
