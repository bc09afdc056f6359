"""Monitor windows and the alerts that they raise."""

from typing import Literal

from lockgate.entities import Alert, MonitorWindow
from lockgate.wire.operation import Empty, Message, own

AlertKind = Literal["drift", "performance", "quality", "health", "rollback"]


class WindowMessage(Message, frozen=True, kw_only=True):
    window: MonitorWindow


class ListWindows(Message, frozen=True, kw_only=True):
    """Newest first. `environment` None: of all, also of those that lockgate.yaml no longer names.

    `before` is the id of a window: those that come after it in this list.
    """

    model: str
    environment: str | None = None
    before: str | None = None
    limit: int = 50


class WindowList(Message, frozen=True, kw_only=True):
    windows: tuple[MonitorWindow, ...] = ()


class OpenAlert(Message, frozen=True, kw_only=True):
    alert: Alert


class OpenedAlert(Message, frozen=True, kw_only=True):
    """The open alert of that model, environment and kind, and whether this call opened it."""

    alert: Alert
    opened: bool


class CloseAlerts(Message, frozen=True, kw_only=True):
    model: str
    environment: str
    kind: AlertKind
    at: int


class ClosedAlerts(Message, frozen=True, kw_only=True):
    alerts: tuple[Alert, ...] = ()


class MarkNotified(Message, frozen=True, kw_only=True):
    alert_id: str
    at: int


class ListAlerts(Message, frozen=True, kw_only=True):
    model: str | None = None
    open_only: bool = False


class AlertList(Message, frozen=True, kw_only=True):
    alerts: tuple[Alert, ...] = ()


RECORD_WINDOW = own("monitoring", "record_window", WindowMessage, WindowMessage)
LIST_WINDOWS = own("monitoring", "list_windows", ListWindows, WindowList, method="GET")
OPEN_ALERT = own("monitoring", "open_alert", OpenAlert, OpenedAlert)
CLOSE_ALERTS = own("monitoring", "close_alerts", CloseAlerts, ClosedAlerts)
MARK_NOTIFIED = own("monitoring", "mark_notified", MarkNotified, Empty)
LIST_ALERTS = own("monitoring", "list_alerts", ListAlerts, AlertList, method="GET")
