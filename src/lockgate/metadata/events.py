"""History: every write that somebody may ask about appends one event in its own transaction, and tells webhooks."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, RowMapping, insert, select

from lockgate.entities import Event, Scalar
from lockgate.metadata.database import Tx
from lockgate.metadata.outbox import OWN_EVENTS, enqueue
from lockgate.metadata.tables import events


def append_event(tx: Tx, kind: str, subject: str, details: Mapping[str, Scalar] | None = None) -> None:
    append_events(tx, kind, [(subject, details or {})])


def append_events(tx: Tx, kind: str, happened: Sequence[tuple[str, Mapping[str, Scalar]]]) -> None:
    """The same of several, (subject, details) each, in their order."""
    if not happened:
        return
    # Decisions take turns, so events are numbered in the order they are committed in: whoever asks for what came after
    # the last one he knows misses none.
    assert tx.is_decision, kind
    said = {"kind": kind, "at": tx.at, "by": tx.by}
    tx.connection.execute(
        insert(events),
        [{**said, "subject": subject, "details": msgspec.json.encode(each).decode()} for subject, each in happened],
    )
    if kind in OWN_EVENTS:
        enqueue(tx, kind, *({"subject": subject, "by": tx.by, "details": each} for subject, each in happened))


def list_events(connection: Connection, *, after: int, limit: int) -> tuple[Event, ...]:
    """Events with a sequence above `after`, oldest first."""
    query = select(events).where(events.c.sequence > after).order_by(events.c.sequence).limit(limit)
    return tuple(_event(row) for row in connection.execute(query).mappings())


def newest_events(connection: Connection, *, limit: int) -> tuple[Event, ...]:
    """The last events, newest first."""
    query = select(events).order_by(events.c.sequence.desc()).limit(limit)
    return tuple(_event(row) for row in connection.execute(query).mappings())


def _event(row: RowMapping) -> Event:
    return Event(
        sequence=row["sequence"],
        kind=row["kind"],
        subject=row["subject"],
        at=row["at"],
        by=row["by"],
        details=msgspec.json.decode(row["details"]),
    )
