"""Monitor windows and alerts."""

from collections.abc import Iterator

from lockgate.client.newest import newest_first
from lockgate.client.transport import Transport
from lockgate.entities import Alert, MonitorWindow
from lockgate.wire import monitoring as wire

_PAGE = 1000  # of one answer


class Monitoring:
    """Finished windows, and alerts that are open until a healthy one."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def record_window(self, window: MonitorWindow) -> MonitorWindow:
        """The recorded window. Recording the same `window_id` again returns the first record."""
        return self._transport.call(wire.RECORD_WINDOW, wire.WindowMessage(window=window)).window

    def list_windows(
        self, model: str, environment: str | None = None, limit: int = 50, *, before: str | None = None
    ) -> list[MonitorWindow]:
        """Newest first, of one environment or of all; those that come after the one with the id `before`."""
        request = wire.ListWindows(model=model, environment=environment, before=before, limit=limit)
        return list(self._transport.call(wire.LIST_WINDOWS, request).windows)

    def iter_windows(self, model: str) -> Iterator[MonitorWindow]:
        """All windows of all environments, newest first."""

        def ask(before: str | None) -> list[MonitorWindow]:
            return self.list_windows(model, limit=_PAGE, before=before)

        return newest_first(ask, lambda window: window.window_id, size=_PAGE)

    def open_alert(self, alert: Alert) -> tuple[Alert, bool]:
        """The open alert of that model, environment and kind, and whether this call opened it."""
        answer = self._transport.call(wire.OPEN_ALERT, wire.OpenAlert(alert=alert))
        return answer.alert, answer.opened

    def close_alerts(self, model: str, environment: str, kind: wire.AlertKind, at: int) -> list[Alert]:
        """The alerts that this call closed."""
        request = wire.CloseAlerts(model=model, environment=environment, kind=kind, at=at)
        return list(self._transport.call(wire.CLOSE_ALERTS, request).alerts)

    def mark_notified(self, alert_id: str, at: int) -> None:
        """Remember that people have been told. Raises NotFound."""
        self._transport.call(wire.MARK_NOTIFIED, wire.MarkNotified(alert_id=alert_id, at=at))

    def list_alerts(self, model: str | None = None, open_only: bool = False) -> list[Alert]:
        """Newest first."""
        return list(self._transport.call(wire.LIST_ALERTS, wire.ListAlerts(model=model, open_only=open_only)).alerts)
