"""The audit: who did what, on what, when and from where, written in the transaction of the deed itself."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from lockgate.entities import AuditEntry, Scalar
from lockgate.metadata.database import Tx
from lockgate.metadata.tables import audit

DONE = "OK"

_DAY_MS = 86_400_000
_PATIENCE_MS = 3_600_000  # what is too old may stay so long: nobody looks with every line from where to count
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
        _forget(tx, keep_days)


def _forget(tx: Tx, keep_days: int) -> None:
    """Forget what is `keep_days` older than the line that was written last of those a day old.

    All lines after that one are later. So its time has come, unless each of them, for a day, is of a clock that runs
    ahead. The latest of those a day old may be of a clock that ran ahead once before. But that one is found at once:
    only where it would have something forgotten is the other looked for, among the lines of a day.
    """
    t = audit.c
    latest = select(func.max(t.at)).where(t.at <= tx.at - _DAY_MS).scalar_subquery()
    overdue = select(t.sequence).where(t.at < latest - keep_days * _DAY_MS - _PATIENCE_MS)
    if tx.connection.scalar(overdue.order_by(t.at).limit(1)) is None:
        return
    # from the newest line back: without `+ 0` SQLite would sort all that the index on times finds
    settled = select(t.at).where(t.at + 0 <= tx.at - _DAY_MS).order_by(t.sequence.desc()).limit(1).scalar_subquery()
    old = select(t.sequence).where(t.at < settled - keep_days * _DAY_MS)
    old = old.order_by(t.at).limit(_FORGOTTEN_AT_ONCE)  # along the index, however many PostgreSQL expects
    # Others do the same at this moment, and each takes rows that nobody else is forgetting. Asked for by itself:
    # within the DELETE, PostgreSQL may ask again for every row of the table.
    forgotten = tx.connection.scalars(old.with_for_update(skip_locked=True)).all()
    if forgotten:
        tx.connection.execute(delete(audit).where(t.sequence.in_(forgotten)))


def has_been_done(connection: Connection, operation: str) -> bool:
    """Whether the audit knows of it; it forgets, and nothing leads to one operation but reading all of it."""
    query = select(audit.c.sequence).where(audit.c.operation == operation, audit.c.outcome == DONE).limit(1)
    return connection.scalar(query) is not None


def list_audit(
    connection: Connection,
    *,
    since: int = 0,
    before: int | None = None,
    subject: str | None = None,
    by: str | None = None,
    limit: int,
) -> tuple[AuditEntry, ...]:
    """Newest first, from the time `since` on, with a sequence below `before`; about one model or experiment, or by one
    user."""
    t = audit.c
    query = select(audit).where(t.at >= since).order_by(t.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(t.sequence < before)
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
