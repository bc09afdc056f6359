"""History: every write that somebody may ask about appends one event in its own transaction."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, RowMapping, insert, select

from lockgate.entities import Event, Scalar
from lockgate.metadata.database import Tx
from lockgate.metadata.tables import events


def append_event(tx: Tx, kind: str, subject: str, details: Mapping[str, Scalar] | None = None) -> None:
    tx.connection.execute(
        insert(events),
        {
            "kind": kind,
            "subject": subject,
            "at": tx.at,
            "by": tx.by,
            "details": msgspec.json.encode(details or {}).decode(),
        },
    )


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
