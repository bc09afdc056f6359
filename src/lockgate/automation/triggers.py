"""What starts a pipeline run by itself: pure decisions on what was seen."""

from collections.abc import Mapping, Sequence

import msgspec

from lockgate.entities import Alert
from lockgate.project import Retrain, duration_s


class Seen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the triggers of a project remember. `data` holds the digests that the last run was started with."""

    data: dict[str, str] = {}
    alerts: tuple[str, ...] = ()  # ids that have started a run, newest last
    started_at: int | None = None


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a run must start. `key` names the occasion, so that one occasion starts one run."""

    kind: str  # data, drift, performance, schedule
    key: str
    reason: str


# An alert is answered once; older ids than these are closed long ago.
_ALERTS_KEPT = 100
_MOST_BEHIND = 24


def find_cause(
    retrain: Retrain, *, seen: Seen, data: Mapping[str, str], alerts: Sequence[Alert], now: int
) -> Cause | None:
    """The first reason to start a run now, or None: nothing happened, or the last run is too recent.

    What happens during the cooldown is not forgotten: the data still differs afterwards, the alert is still open.
    """
    if seen.started_at is not None and now - seen.started_at < duration_s(retrain.cooldown) * 1000:
        return None
    if "data" in retrain.on:
        changed = changed_data(seen.data, data)
        if changed:
            key = "-".join(data[name][:12] for name in changed)
            return Cause(kind="data", key=f"data-{key}", reason=f"data changed: {', '.join(changed)}")
    for alert in alerts:
        if alert.kind in retrain.on and alert.closed_at is None and alert.alert_id not in seen.alerts:
            return Cause(kind=alert.kind, key=f"alert-{alert.alert_id}", reason=alert.summary)
    return None


def changed_data(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names whose content is another one than before; a file that is new to us or missing now is no change."""
    return sorted(name for name, digest in now.items() if name in before and before[name] != digest)


def first_sight(seen: Seen, data: Mapping[str, str]) -> Seen:
    """Remember files that were never seen, so that only a later change of theirs counts."""
    unknown = {name: digest for name, digest in data.items() if name not in seen.data}
    return Seen(data={**seen.data, **unknown}, alerts=seen.alerts, started_at=seen.started_at) if unknown else seen


def started(seen: Seen, *, data: Mapping[str, str], alerts: Sequence[Alert], now: int) -> Seen:
    """A run was started: it reads the data as it is, and answers every alert that is open."""
    answered = [alert.alert_id for alert in alerts if alert.closed_at is None and alert.alert_id not in seen.alerts]
    return Seen(data={**seen.data, **data}, alerts=(*seen.alerts, *answered)[-_ALERTS_KEPT:], started_at=now)


def next_window(now: int, window_s: float, *, after: int | None) -> tuple[int, int]:
    """The window to look at now (milliseconds): [start, end), complete and aligned to the epoch.

    It is the one that follows `after`, the end of the last look, and the newest one without it. Whoever is more than
    a few windows behind leaves windows out. Where nothing is due, `end` is `after`.
    """
    length = max(1, round(window_s * 1000))
    end = now // length * length
    if after is not None and end > after:
        end = max(after + length, end - _MOST_BEHIND * length)
    return end - length, end
