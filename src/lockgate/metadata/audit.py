"""The audit: who did what, on what, when and from where, written in the transaction of the deed itself."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from lockgate.entities import AuditEntry, Scalar
from lockgate.metadata.database import Tx
from lockgate.metadata.tables import audit

DONE = "OK"

_DAY_MS = 86_400_000
_FORGOTTEN_AT_ONCE = 500  # after the setting was lowered there may be millions, and others wait to write


def append_audit(
    tx: Tx, operation: str, *, address: str, subject: str, outcome: str, details: Mapping[str, Scalar], keep_days: int
) -> None:
    """Add one row, and forget some of those that are `keep_days` older than what is a day old; 0 keeps them for ever.

    Counted from this row, a moment of a clock that runs ahead would delete everything.
    """
    tx.connection.execute(
        insert(audit),
        {
            "at": tx.at,
            "by": tx.by,
            "address": address,
            "operation": operation,
            "subject": subject,
            "outcome": outcome,
            "details": msgspec.json.encode(details).decode(),
        },
    )
    if keep_days:
        settled = select(func.max(audit.c.at)).where(audit.c.at <= tx.at - _DAY_MS).scalar_subquery()
        old = select(audit.c.sequence).where(audit.c.at < settled - keep_days * _DAY_MS)
        old = old.order_by(audit.c.at).limit(_FORGOTTEN_AT_ONCE)  # along the index, however many PostgreSQL expects
        # Others do the same at this moment, and each takes rows that nobody else is forgetting. Asked for by itself:
        # within the DELETE, PostgreSQL may ask again for every row of the table.
        forgotten = tx.connection.scalars(old.with_for_update(skip_locked=True)).all()
        if forgotten:
            tx.connection.execute(delete(audit).where(audit.c.sequence.in_(forgotten)))


def has_been_done(connection: Connection, operation: str) -> bool:
    """Whether the audit knows of it; it forgets, and nothing leads to one operation but reading all of it."""
    query = select(audit.c.sequence).where(audit.c.operation == operation, audit.c.outcome == DONE).limit(1)
    return connection.scalar(query) is not None


def list_audit(
    connection: Connection, *, since: int = 0, subject: str | None = None, by: str | None = None, limit: int
) -> tuple[AuditEntry, ...]:
    """Newest first, from the time `since` on; about one model or experiment, or by one user."""
    t = audit.c
    query = select(audit).where(t.at >= since).order_by(t.sequence.desc()).limit(limit)
    if subject is not None:
        query = query.where(t.subject == subject)
    if by is not None:
        query = query.where(t.by == by)
    return tuple(
        AuditEntry(
            sequence=row.sequence,
            at=row.at,
            by=row.by,
            address=row.address,
            operation=row.operation,
            subject=row.subject,
            outcome=row.outcome,
            details=msgspec.json.decode(row.details),
        )
        for row in connection.execute(query)
    )
