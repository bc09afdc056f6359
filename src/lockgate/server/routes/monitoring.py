"""Monitor windows and alerts."""

from lockgate.metadata import alerts, windows
from lockgate.metadata.limits import require_limit
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import contributor, viewer
from lockgate.server.own import require_own
from lockgate.server.subjects import of_alert, of_alert_id, of_model, of_window
from lockgate.wire import monitoring as wire
from lockgate.wire.operation import Empty


def record_window(ctx: Context, request: wire.WindowMessage) -> wire.WindowMessage:
    require_own(ctx, request.window.profile)
    with ctx.write() as tx:
        return wire.WindowMessage(window=windows.record_window(tx, request.window))


def list_windows(ctx: Context, request: wire.ListWindows) -> wire.WindowList:
    with ctx.read() as connection:
        limit = require_limit(request.limit)
        found = windows.list_windows(connection, request.model, request.environment, before=request.before, limit=limit)
        return wire.WindowList(windows=found)


def open_alert(ctx: Context, request: wire.OpenAlert) -> wire.OpenedAlert:
    with ctx.write() as tx:
        alert, opened = alerts.open_alert(tx, request.alert)
        return wire.OpenedAlert(alert=alert, opened=opened)


def close_alerts(ctx: Context, request: wire.CloseAlerts) -> wire.ClosedAlerts:
    with ctx.write() as tx:
        closed = alerts.close_alerts(tx, request.model, request.environment, request.kind, at=request.at)
        return wire.ClosedAlerts(alerts=closed)


def mark_notified(ctx: Context, request: wire.MarkNotified) -> Empty:
    with ctx.write() as tx:
        alerts.mark_notified(tx, request.alert_id, at=request.at)
    return Empty()


def list_alerts(ctx: Context, request: wire.ListAlerts) -> wire.AlertList:
    with ctx.read() as connection:
        found = alerts.list_alerts(connection, model=request.model, open_only=request.open_only)
        return wire.AlertList(alerts=found)


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.RECORD_WINDOW, record_window, contributor(of_window)),
    Route(wire.LIST_WINDOWS, list_windows, viewer(of_model)),
    Route(wire.OPEN_ALERT, open_alert, contributor(of_alert)),
    Route(wire.CLOSE_ALERTS, close_alerts, contributor(of_model)),
    Route(wire.MARK_NOTIFIED, mark_notified, contributor(of_alert_id)),
    Route(wire.LIST_ALERTS, list_alerts, viewer(of_model)),
)
