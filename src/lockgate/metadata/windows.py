"""Monitor windows: finished looks at an environment, each recorded once."""

import re

import msgspec
from sqlalchemy import Connection, insert, select, tuple_

from lockgate.entities import MonitorWindow, Scalar
from lockgate.errors import Conflict, InvalidInput, NotFound
from lockgate.hashing import is_digest, look_id
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event
from lockgate.metadata.limits import ENVIRONMENT_LENGTH, ID_LENGTH, MODEL_LENGTH, require_name, require_times
from lockgate.metadata.tables import monitor_windows
from lockgate.metadata.versions import MAX_VERSION

_LOOK_ID = re.compile("[0-9a-f]{32}")
_decoder = msgspec.json.Decoder(MonitorWindow)


def record_window(tx: Tx, window: MonitorWindow) -> MonitorWindow:
    """The recorded window; a look that is there already keeps its first record.

    Raises Conflict where the id is another look's, and InvalidInput.
    """
    _require_valid(window)
    record = _find_record(tx.connection, window.window_id)
    if record is not None:
        stored = _decoder.decode(record)
        if _look(stored) != _look(window):
            raise Conflict(f"the window id {window.window_id!r} is that of another look, expected one of its own.")
        return stored
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
    record = _find_record(connection, window_id)
    if record is None:
        raise NotFound(f"there is no monitor window {window_id!r}.", hint="lockgate monitor")
    return _decoder.decode(record)


def list_windows(
    connection: Connection, model: str, environment: str | None, *, before: str | None = None, limit: int
) -> tuple[MonitorWindow, ...]:
    """Newest first, of one environment or of all; those that come after the window `before`. Raises NotFound for it."""
    t = monitor_windows.c
    query = select(t.record).where(t.model == model)
    if before is not None:
        last = get_window(connection, before)
        query = query.where(tuple_(t.end_at, t.window_id) < (last.end_at, last.window_id))
    if environment is not None:
        query = query.where(t.environment == environment)
    query = query.order_by(t.end_at.desc(), t.window_id.desc()).limit(limit)
    return tuple(_decoder.decode(record) for record in connection.scalars(query))


def models_naming(connection: Connection, digest: str) -> tuple[str, ...]:
    """The models with a window whose record holds the digest. Reads all windows."""
    t = monitor_windows.c
    return tuple(connection.scalars(select(t.model).where(t.record.contains(digest, autoescape=True)).distinct()))


def _find_record(connection: Connection, window_id: str) -> str | None:
    return connection.scalar(select(monitor_windows.c.record).where(monitor_windows.c.window_id == window_id))


def _look(window: MonitorWindow) -> tuple[str, str, int, int]:
    return window.model, window.environment, window.start_at, window.end_at


def _require_valid(window: MonitorWindow) -> None:
    require_name(window.window_id, ID_LENGTH, "window_id")
    require_name(window.model, MODEL_LENGTH, "model")
    require_name(window.environment, ENVIRONMENT_LENGTH, "environment")
    require_times(window)
    own_id = look_id(*_look(window))
    # Nobody takes the id that the monitor of another model is going to need.
    if _LOOK_ID.fullmatch(window.window_id) and window.window_id != own_id:
        raise InvalidInput(f"'window_id' is {window.window_id!r}, expected {own_id!r} for this look.")
    if window.start_at >= window.end_at:
        raise InvalidInput(f"a window ends after it starts, not [{window.start_at}, {window.end_at}).")
    if not 0 <= window.version <= MAX_VERSION:
        raise InvalidInput(f"'version' is {window.version}, expected 1 to {MAX_VERSION}, or 0 where none served.")
    if window.profile is not None and not is_digest(window.profile):
        raise InvalidInput(f"'profile' is {window.profile[:80]!r}, expected the digest of a stored profile.")
