"""Alerts: opened when a window alarms, told once to every address, closed when a later window is healthy.

The record comes first and the message after it: a message that cannot be sent is tried again at the next look, and an
address that has been told is not told again. Sending is not a part of the record's transaction, so a process that is
killed between the two may tell an address twice, and never not at all.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from lockgate.clock import Clock
from lockgate.config import read_secret
from lockgate.entities import Alert, MonitorWindow
from lockgate.errors import InvalidInput
from lockgate.hashing import digest_canonical
from lockgate.monitoring.window import decided, monitor_of
from lockgate.project import AlertTarget, Folder, Project
from lockgate.store.atomic import write_atomically
from lockgate.wire.monitoring import AlertKind

if TYPE_CHECKING:
    from lockgate.client.client import Client

log = logging.getLogger("lockgate.monitoring")

# (address, title, text) -> whether it was sent
Send = Callable[[str, str, str], bool]


def settle(folder: Folder, *, client: "Client", window: MonitorWindow, clock: Clock) -> list[Alert]:
    """Open and close alerts by what the window found; those that this call opened.

    A window that had too little to judge leaves alerts as they are, and so does one before the newest.
    """
    newest = client.monitoring.list_windows(window.model, window.environment, limit=1)
    if newest and newest[0].end_at > window.end_at:
        return []
    opened = []
    for kind in _kinds():
        if kind in window.alerts:
            identity = [window.window_id, kind]
            alert = Alert(
                alert_id=digest_canonical("alert", identity)[:32],
                model=window.model,
                environment=window.environment,
                kind=kind,
                summary=summary(window, kind, folder.project),
                opened_at=clock.now_ms(),
                window_id=window.window_id,
            )
            found, is_new = client.monitoring.open_alert(alert)
            opened += [found] if is_new else []
        elif kind in decided(window, folder.project):
            client.monitoring.close_alerts(window.model, window.environment, kind, clock.now_ms())
    return opened


def notify(
    folder: Folder, *, client: "Client", clock: Clock, environ: Mapping[str, str], send: Send | None = None
) -> list[Alert]:
    """Tell every address of every open alert that it has not been told of; the alerts that are now told everywhere.

    An address that fails is logged and tried again next time; it stops neither the others nor the caller.
    """
    targets = folder.project.alerts
    if not targets:
        return []
    told = []
    for alert in client.monitoring.list_alerts(folder.project.model, open_only=True):
        if alert.notified_at is not None:
            continue
        path = folder.state / "alerts" / f"{alert.alert_id}.json"
        if _tell(alert, targets, path, environ=environ, send=send or send_with_apprise):
            client.monitoring.mark_notified(alert.alert_id, clock.now_ms())
            path.unlink(missing_ok=True)
            told.append(alert)
    return told


def summary(window: MonitorWindow, kind: str, project: Project) -> str:
    """One line that says what is wrong, with the numbers."""
    where = f"{window.model} version {window.version} in {window.environment}"
    if kind == "drift":
        drifted = [item for item in window.drift if item.drift_detected]
        named = ", ".join(f"{item.column} (PSI {item.effect:.2f})" for item in drifted[:5])
        more = f" and {len(drifted) - 5} more" if len(drifted) > 5 else ""
        return f"{where}: {len(drifted)} of {len(window.drift)} columns drifted: {named}{more}"
    if kind == "quality":
        more = f"; and {len(window.quality) - 3} more" if len(window.quality) > 3 else ""
        return f"{where}: {'; '.join(window.quality[:3])}{more}"
    monitor = monitor_of(project)
    if kind == "performance" and monitor.performance:
        wanted = monitor.performance
        bound = f"at least {wanted.min}" if wanted.min is not None else f"at most {wanted.max}"
        value = window.performance[wanted.metric]
        return f"{where}: {wanted.metric} is {value:.4g} on {window.labelled_rows} labelled rows ({bound} is asked)"
    p99 = "-" if window.latency_ms_p99 is None else f"{window.latency_ms_p99:.3g} ms"
    return f"{where}: error rate {window.error_rate:.2%}, p99 latency {p99}"


def send_with_apprise(url: str, title: str, text: str) -> bool:
    """One message through Apprise; False where the address is none or does not take it."""
    import apprise

    sender = apprise.Apprise()
    return bool(sender.add(url) and sender.notify(title=title, body=text))


def _tell(alert: Alert, targets: Sequence[AlertTarget], path: Path, *, environ: Mapping[str, str], send: Send) -> bool:
    """Whether all addresses have been told, now or before."""
    told = _told(path)
    for target in targets:
        # the reference and not the address, which may hold a secret
        name = digest_canonical("alert-target", target.url)
        if name in told or not _sent(alert, target, environ=environ, send=send):
            continue
        told.add(name)
        write_atomically(path, msgspec.json.encode(sorted(told)))
    return all(digest_canonical("alert-target", target.url) in told for target in targets)


def _sent(alert: Alert, target: AlertTarget, *, environ: Mapping[str, str], send: Send) -> bool:
    try:
        url = read_secret(target.url, environ=environ)
        if send(url, f"Lockgate: {alert.kind} alert", alert.summary):
            return True
        log.warning(
            "alert %s could not be sent to %s; it is tried again at the next look.", alert.alert_id, _shown(target)
        )
    except InvalidInput as error:
        log.warning("alert %s could not be sent: %s", alert.alert_id, error.message)
    except Exception:
        # Apprise calls plugins of other people: whatever they raise, the alert is kept and the loop goes on.
        log.exception("alert %s could not be sent to %s.", alert.alert_id, _shown(target))
    return False


def _shown(target: AlertTarget) -> str:
    """A reference as it is; of an address only its scheme, because the rest may be a secret."""
    kind, colon, _ = target.url.partition(":")
    return target.url if kind in ("env", "file") else f"{kind}{colon}..."


def _told(path: Path) -> set[str]:
    try:
        return set(msgspec.json.decode(path.read_bytes(), type=list[str]))
    except (FileNotFoundError, msgspec.DecodeError):
        return set()


def _kinds() -> tuple[AlertKind, ...]:
    """What a window decides on; a rollback is delivery's to say."""
    return tuple(kind for kind in get_args(AlertKind) if kind != "rollback")
