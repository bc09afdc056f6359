"""Alerts: at most one open of a kind in an environment, so that a condition is told once and not on every look."""

from sqlalchemy import Connection, RowMapping, insert, select, update

from lockgate.entities import Alert
from lockgate.errors import AlreadyExists, NotFound
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event
from lockgate.metadata.limits import (
    ENVIRONMENT_LENGTH,
    ID_LENGTH,
    MODEL_LENGTH,
    require_name,
    require_text,
    require_time,
    require_times,
)
from lockgate.metadata.tables import alerts


def open_alert(tx: Tx, alert: Alert) -> tuple[Alert, bool]:
    """The open alert of that model, environment and kind, and whether this call opened it.

    Raises AlreadyExists where the id is another alert's, and InvalidInput.
    """
    _require_valid(alert)
    t = alerts.c
    query = select(alerts).where(
        t.model == alert.model, t.environment == alert.environment, t.kind == alert.kind, t.closed_at.is_(None)
    )
    row = tx.connection.execute(query).mappings().first()
    if row is not None:
        return _alert(row), False
    if tx.connection.scalar(select(t.alert_id).where(t.alert_id == alert.alert_id)) is not None:
        raise AlreadyExists(f"there is another alert {alert.alert_id!r}, open or closed; expected a new id.")
    tx.connection.execute(
        insert(alerts),
        {
            "alert_id": alert.alert_id,
            "model": alert.model,
            "environment": alert.environment,
            "kind": alert.kind,
            "summary": alert.summary,
            "opened_at": alert.opened_at,
            "window_id": alert.window_id,
            "closed_at": None,
            "notified_at": alert.notified_at,
        },
    )
    details = {"alert_id": alert.alert_id, "kind": alert.kind, "summary": alert.summary}
    append_event(tx, "alert.opened", f"{alert.model}/{alert.environment}", details)
    return alert, True


def close_alerts(tx: Tx, model: str, environment: str, kind: str, *, at: int) -> tuple[Alert, ...]:
    """The alerts that this call closed. Raises InvalidInput for what is no time."""
    require_time(at, "at")
    t = alerts.c
    query = select(alerts).where(t.model == model, t.environment == environment, t.kind == kind, t.closed_at.is_(None))
    closed = []
    for row in tx.connection.execute(query).mappings().all():
        tx.connection.execute(update(alerts).where(t.alert_id == row["alert_id"]).values(closed_at=at))
        closed.append(_alert({**row, "closed_at": at}))
        append_event(tx, "alert.closed", f"{model}/{environment}", {"alert_id": row["alert_id"], "kind": kind})
    return tuple(closed)


def mark_notified(tx: Tx, alert_id: str, *, at: int) -> None:
    """Somebody has been told. Raises NotFound, and InvalidInput for what is no time."""
    require_time(at, "at")
    updated = tx.connection.execute(update(alerts).where(alerts.c.alert_id == alert_id).values(notified_at=at))
    if not updated.rowcount:
        raise NotFound(f"there is no alert {alert_id!r}.")
    append_event(tx, "alert.notified", alert_id)


def list_alerts(connection: Connection, *, model: str | None, open_only: bool) -> tuple[Alert, ...]:
    """Newest first."""
    query = select(alerts).order_by(alerts.c.opened_at.desc(), alerts.c.alert_id.desc())
    if model is not None:
        query = query.where(alerts.c.model == model)
    if open_only:
        query = query.where(alerts.c.closed_at.is_(None))
    return tuple(_alert(row) for row in connection.execute(query).mappings())


def _require_valid(alert: Alert) -> None:
    require_name(alert.alert_id, ID_LENGTH, "alert_id")
    require_name(alert.model, MODEL_LENGTH, "model")
    require_name(alert.environment, ENVIRONMENT_LENGTH, "environment")
    require_text(alert.window_id or "", ID_LENGTH, "window_id")
    require_times(alert)


def _alert(row: RowMapping | dict[str, object]) -> Alert:
    return Alert(**{name: row[name] for name in Alert.__struct_fields__})  # type: ignore[arg-type]  # the columns are the fields
