"""The outbox of webhooks: what is to be told is written in the transaction of the event, so that nothing is lost.

A row is sent at least once. Whoever sends takes due rows by moving their time into the future (the lease), so that two
servers on one database do not send the same row at the same time, and a sender that dies is followed by another when
the lease is over. A row that could not be delivered waits twice as long each time and is given up after a day; it then
stays for a month, for people to look at.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, exists, func, insert, select, update

from lockgate.metadata.database import Tx
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
FIRST_WAIT_MS = 1_000
LONGEST_WAIT_MS = 600_000
GIVE_UP_AFTER_MS = 86_400_000
FORGET_AFTER_MS = 30 * 86_400_000
_MAX_ERROR = 500


class Delivery(NamedTuple):
    """One message to one receiver. Its id and body are the same at every attempt."""

    delivery_id: str
    webhook_id: str
    event: str
    url: str
    secret: str
    body: str
    created_at: int
    attempts: int


class Backlog(NamedTuple):
    """What one webhook has not been told: still to come, and given up."""

    waiting: int
    given_up: int
    last_error: str


def enqueue(tx: Tx, event: str, data: Mapping[str, object]) -> None:
    """Tell every active webhook that asked for `event`, once this transaction is committed."""
    asked = webhook_events.c.webhook_id == webhooks.c.webhook_id
    query = select(webhooks.c.webhook_id).join(webhook_events, asked)
    receivers = tx.connection.scalars(
        query.where(webhook_events.c.event == event, webhooks.c.status == ACTIVE).order_by(webhooks.c.created_at)
    ).all()
    if not receivers:
        return
    body = encode_body(event, data, at=tx.at)
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
    """The active ones that something is due for. Cheap enough to be asked all the time."""
    t = webhook_deliveries.c
    waits = exists().where(t.webhook_id == webhooks.c.webhook_id, t.due_at <= now)
    return connection.scalars(select(webhooks.c.webhook_id).where(webhooks.c.status == ACTIVE, waits)).all()


def claim_due(tx: Tx, webhook_id: str, *, limit: int, lease_ms: int) -> tuple[Delivery, ...]:
    """Take up to `limit` due rows of an active webhook, oldest first; nobody else gets them for `lease_ms`."""
    t = webhook_deliveries.c
    query = (
        select(
            t.delivery_id, t.webhook_id, t.event, webhooks.c.url, webhooks.c.secret, t.body, t.created_at, t.attempts
        )
        .join(webhooks, webhooks.c.webhook_id == t.webhook_id)
        .where(t.webhook_id == webhook_id, t.due_at <= tx.at, webhooks.c.status == ACTIVE)
        .order_by(t.due_at, t.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=webhook_deliveries)  # SQLite has one writer and ignores it
    )
    claimed = tuple(Delivery(*row) for row in tx.connection.execute(query))
    if claimed:
        taken = t.delivery_id.in_([item.delivery_id for item in claimed])
        tx.connection.execute(update(webhook_deliveries).where(taken).values(due_at=tx.at + lease_ms))
    return claimed


def mark_delivered(tx: Tx, delivery_id: str) -> None:
    tx.connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.delivery_id == delivery_id))


def mark_failed(tx: Tx, failed: Delivery, error: str) -> None:
    """Try again later, and with it everything else that waits for the same receiver; give up what is a day old."""
    t = webhook_deliveries.c
    tx.connection.execute(
        update(webhook_deliveries)
        .where(t.delivery_id == failed.delivery_id)
        .values(attempts=failed.attempts + 1, error=error[:_MAX_ERROR])
    )
    # One dead receiver costs one time-out a round, not one for each of its messages.
    waiting = (t.webhook_id == failed.webhook_id, t.due_at.is_not(None))
    due_at = tx.at + min(FIRST_WAIT_MS << min(failed.attempts, 20), LONGEST_WAIT_MS)
    tx.connection.execute(update(webhook_deliveries).where(*waiting).values(due_at=due_at))
    tx.connection.execute(
        update(webhook_deliveries).where(*waiting, t.created_at <= tx.at - GIVE_UP_AFTER_MS).values(due_at=None)
    )
    tx.connection.execute(delete(webhook_deliveries).where(t.due_at.is_(None), t.created_at <= tx.at - FORGET_AFTER_MS))


def release(tx: Tx, delivery_ids: Sequence[str]) -> None:
    """Give back what was claimed and not tried."""
    untried = webhook_deliveries.c.delivery_id.in_(delivery_ids)
    tx.connection.execute(update(webhook_deliveries).where(untried).values(due_at=tx.at))


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
        failed = select(t.error).where(t.webhook_id == webhook_id, t.error != "").order_by(t.created_at).limit(1)
        found[webhook_id] = Backlog(waiting, given_up, connection.scalar(failed) or "")
    return found
