"""Monitor windows: finished looks at an environment, each recorded once."""

import msgspec
from sqlalchemy import Connection, insert, select

from lockgate.entities import MonitorWindow, Scalar
from lockgate.errors import NotFound
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event
from lockgate.metadata.tables import monitor_windows

_decoder = msgspec.json.Decoder(MonitorWindow)


def record_window(tx: Tx, window: MonitorWindow) -> MonitorWindow:
    """The recorded window; a window id that is there already keeps its first record."""
    t = monitor_windows.c
    stored = tx.connection.scalar(select(t.record).where(t.window_id == window.window_id))
    if stored is not None:
        return _decoder.decode(stored)
    tx.connection.execute(
        insert(monitor_windows),
        {
            "window_id": window.window_id,
            "model": window.model,
            "environment": window.environment,
            "start_at": window.start_at,
            "end_at": window.end_at,
            "record": msgspec.json.encode(window).decode(),
        },
    )
    details: dict[str, Scalar] = {
        "window_id": window.window_id,
        "rows": window.rows,
        "alerts": ", ".join(window.alerts),
    }
    append_event(tx, "window.recorded", f"{window.model}/{window.environment}", details)
    return window


def get_window(connection: Connection, window_id: str) -> MonitorWindow:
    """Raises NotFound."""
    record = connection.scalar(select(monitor_windows.c.record).where(monitor_windows.c.window_id == window_id))
    if record is None:
        raise NotFound(f"there is no monitor window {window_id!r}.", hint="lockgate monitor")
    return _decoder.decode(record)


def list_windows(connection: Connection, model: str, environment: str, *, limit: int) -> tuple[MonitorWindow, ...]:
    """Newest first."""
    t = monitor_windows.c
    query = select(t.record).where(t.model == model, t.environment == environment)
    query = query.order_by(t.end_at.desc(), t.window_id.desc()).limit(limit)
    return tuple(_decoder.decode(record) for record in connection.scalars(query))
