"""One look at one environment over [start, end): drift, quality, performance, health, and the record of it.

    prediction log --version by version--> counts and a profile in the bins of the release's profile
                   --labels by prediction id, shifted back by label_delay--> metrics

A window has an id of its own, so looking twice records once. Fewer rows than `monitor.min_rows` decide nothing.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from lockgate.clock import Clock
from lockgate.data.drift import compare
from lockgate.data.predictions import iter_predictions, read_feedback
from lockgate.data.profile import PREDICTION, NumericProfile, Profile, decode_profile, encode_profile
from lockgate.entities import ColumnDrift, MonitorWindow, Prediction, Release, Scalar
from lockgate.errors import InvalidInput, NotFound
from lockgate.hashing import look_id
from lockgate.monitoring.answers import Answers
from lockgate.monitoring.performance import Labelled, measure
from lockgate.monitoring.quality import broken_expectations
from lockgate.monitoring.served import Served, batches
from lockgate.project import Folder, Monitor, Project, duration_s
from lockgate.stats.alarm_budget import window_alpha

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.store.store import Store

# Rows that were answered in the last moment of a window reach the log a moment after it.
SETTLE_MS = 1000


class _Version(NamedTuple):
    """A version that was served, with what it is compared with."""

    release: Release | None
    reference: Profile | None
    answers: Answers


def look(
    folder: Folder,
    *,
    client: "Client",
    store: "Store",
    environment: str,
    start_at: int,
    end_at: int,
    clock: Clock,
) -> MonitorWindow:
    """Look at the predictions of [start_at, end_at) ms and record what was found; a recorded window stays as it is.

    Raises InvalidInput for an unknown environment and for a window that is not over.
    """
    project = folder.project
    if environment not in project.environments:
        known = ", ".join(project.environments) or "none"
        raise InvalidInput(f"there is no environment {environment!r}; there are: {known}.")
    _wait_until_over(start_at, end_at, clock)
    log = folder.state / "serving" / environment / "predictions"
    versions: dict[int, _Version] = {}
    served: dict[int, Served] = {}
    for batch in batches(iter_predictions(log, start_at, end_at)):
        for number, rows in _by_version(batch).items():
            if number not in versions:
                versions[number] = _version(project, client, store, number)
            version = versions[number]
            served.setdefault(number, Served()).add(rows, version.reference, version.answers)
    number = _reported(project, client, environment, served)
    version = versions.get(number) or _version(project, client, store, number)
    labelled = _labelled(folder, environment, number, start_at, end_at)
    window = _judge(
        project, version, served.get(number, Served()), labelled, number=number, start_at=start_at, end_at=end_at
    )
    window = _named(window, environment, notes=_mixture(number, served), now=clock.now_ms())
    profile = served[number].profile if number in served else None
    if profile is not None:
        window = _replace(window, profile=store.put_bytes(encode_profile(profile)))
    return client.monitoring.record_window(window)


def next_windows(
    folder: Folder, *, client: "Client", environment: str, now: int, limit: int = 24, keep_days: int = 30
) -> list[tuple[int, int]]:
    """The complete windows [start, end) ms that were not looked at yet, the oldest first.

    After a long pause only the newest `limit` of them, and none whose predictions are no longer kept. Where there was
    no look yet, the last complete window.
    """
    length = window_ms(folder.project)
    end = (now - SETTLE_MS) // length * length
    recorded = client.monitoring.list_windows(folder.project.model, environment, limit=1)
    first = end - length
    if recorded:
        first = max(-(-recorded[0].end_at // length) * length, end - limit * length, 0)
        kept = now - keep_days * 86_400_000
        first = max(first, -(-kept // length) * length)
    return [(start, start + length) for start in range(first, end, length)]


def window_ms(project: Project) -> int:
    """The length of the project's monitor window."""
    return max(1, round(duration_s(monitor_of(project).window) * 1000))


def monitor_of(project: Project) -> Monitor:
    """The project's monitor section, or its defaults."""
    return project.monitor or Monitor()


def decided(window: MonitorWindow, project: Project) -> frozenset[str]:
    """The kinds of alerts that this window can open or close: it had the rows, or the labels, to judge them."""
    monitor = monitor_of(project)
    kinds = set()
    if window.rows >= monitor.min_rows:
        kinds |= {"health"}
        kinds |= {"drift", "quality"} if window.profile is not None else set()
    performance = monitor.performance
    if performance and performance.metric in window.performance and window.labelled_rows >= performance.min_labels:
        kinds.add("performance")
    return frozenset(kinds)


def _judge(
    project: Project,
    version: _Version,
    served: Served,
    labelled: Labelled,
    *,
    number: int,
    start_at: int,
    end_at: int,
) -> MonitorWindow:
    """Everything that is decided, from what was counted."""
    monitor = monitor_of(project)
    alpha = window_alpha(monitor.drift.false_alarms_per_year, (end_at - start_at) / 1000)
    notes: list[str] = []
    drift: tuple[ColumnDrift, ...] = ()
    quality: tuple[str, ...] = ()
    if served.rows < monitor.min_rows:
        notes.append(f"{served.rows} rows: too few to decide on drift (monitor.min_rows is {monitor.min_rows})")
    elif version.reference is None or served.profile is None:
        notes.append(f"version {number} has no training profile: drift and quality cannot be judged")
    else:
        reference, left_out = _comparable(version.reference, served.profile)
        notes += left_out
        drift = compare(
            reference,
            served.profile,
            alpha=alpha,
            min_effect=monitor.drift.min_effect,
            columns=monitor.drift.columns,
        )
        quality = broken_expectations(reference, served.profile, alpha=alpha)
    performance, why = _performance(project, version, labelled)
    window = MonitorWindow(
        window_id="",
        model=project.model,
        environment="",
        version=number,
        start_at=start_at,
        end_at=end_at,
        rows=served.rows,
        labelled_rows=len(labelled),
        error_rate=served.error_rate,
        latency_ms_p50=served.latency_ms(0.5),
        latency_ms_p99=served.latency_ms(0.99),
        drift=drift,
        quality=quality,
        notes=(*notes, *why),
        performance=performance,
        alerts=(),
        created_at=0,
    )
    return _replace(window, alerts=_alarms(window, monitor, asked=served.rows + served.errors))


def _alarms(window: MonitorWindow, monitor: Monitor, *, asked: int) -> tuple[str, ...]:
    kinds = []
    if any(drift.drift_detected for drift in window.drift):
        kinds.append("drift")
    performance = monitor.performance
    if performance and window.labelled_rows >= performance.min_labels and performance.metric in window.performance:
        value = window.performance[performance.metric]
        too_low = performance.min is not None and value < performance.min
        too_high = performance.max is not None and value > performance.max
        if too_low or too_high:
            kinds.append("performance")
    if window.quality:
        kinds.append("quality")
    health = monitor.health
    failing = health.error_rate is not None and window.error_rate > health.error_rate
    p99 = window.latency_ms_p99
    slow = health.latency_ms_p99 is not None and p99 is not None and p99 > health.latency_ms_p99
    if asked >= monitor.min_rows and (failing or slow):
        kinds.append("health")
    return tuple(kinds)


def _performance(project: Project, version: _Version, labelled: Labelled) -> tuple[dict[str, float], list[str]]:
    performance = monitor_of(project).performance
    least = performance.min_labels if performance else 1
    if len(labelled) < least:
        why = [f"{len(labelled)} labels: too few to measure performance (it needs {least})"] if performance else []
        return {}, why
    return measure(labelled, project, version.answers)


def _labelled(folder: Folder, environment: str, version: int, start_at: int, end_at: int) -> Labelled:
    """The version's answers of the window before, as far back as labels take, with every label that has come."""
    performance = monitor_of(folder.project).performance
    delay = round(duration_s(performance.label_delay) * 1000) if performance else 0
    serving = folder.state / "serving" / environment
    labels: Mapping[str, Scalar] = {
        item.prediction_id: item.label for item in read_feedback(serving / "feedback", start_at - delay)
    }
    labelled = Labelled()
    if labels:
        for batch in batches(iter_predictions(serving / "predictions", start_at - delay, end_at - delay)):
            labelled.add((item for item in batch if item.version == version), labels)
    return labelled


def _by_version(batch: list[Prediction]) -> dict[int, list[Prediction]]:
    found: dict[int, list[Prediction]] = {}
    for item in batch:
        found.setdefault(item.version, []).append(item)
    return found


def _version(project: Project, client: "Client", store: "Store", number: int) -> _Version:
    try:
        release = client.registry.get_release(project.model, number)
    except NotFound:
        return _Version(None, None, Answers(project, None))
    reference = decode_profile(store.get_bytes(release.profile)) if release.profile else None
    return _Version(release, reference, Answers(project, _classes(store, release)))


def _classes(store: "Store", release: Release) -> tuple[Scalar, ...] | None:
    """The order of the model's probabilities, where its MLmodel file says it."""
    import yaml

    try:
        entry = next(e for e in store.read_tree(release.content.digest) if e.path == "MLmodel")
        document = yaml.safe_load(store.get_bytes(entry.digest))
        classes = (document.get("metadata") or {}).get("lockgate_classes")
    except (NotFound, StopIteration, yaml.YAMLError, AttributeError):
        return None
    return tuple(classes) if isinstance(classes, list) else None


def _reported(project: Project, client: "Client", environment: str, served: Mapping[int, Served]) -> int:
    """The stable version; the one that answered most where the stable one is unknown or answered nothing."""
    traffic = client.delivery.get_traffic(project.model, environment)
    stable = next((share.version for share in traffic.shares if share.role == "stable"), None) if traffic else None
    if stable is not None and (stable in served or not served):
        return stable
    return max(served, key=lambda number: served[number].rows, default=0)


def _mixture(number: int, served: Mapping[int, Served]) -> tuple[str, ...]:
    others = [f"version {other} ({rows.rows} rows)" for other, rows in sorted(served.items()) if other != number]
    return (f"also served: {', '.join(others)}; the figures are version {number}'s",) if others else ()


def _comparable(reference: Profile, current: Profile) -> tuple[Profile, list[str]]:
    """The reference without a prediction column that holds something else than the log: scores beside labels."""
    past, now = reference.columns.get(PREDICTION), current.columns.get(PREDICTION)
    if past is None or now is None or now.rows == 0:
        return reference, []
    unknown = now.missing + now.invalid == now.rows
    labels_for_scores = (
        isinstance(past, NumericProfile)
        and isinstance(now, NumericProfile)
        and past.type == "number"
        and len(past.edges) > 2
        and {now.low, now.high} <= {0.0, 1.0}
        and sum(count > 0 for count in now.counts) <= 2
        and past.low != now.low
        and past.high != now.high
    )
    if not (unknown or labels_for_scores):
        return reference, []
    columns = {name: column for name, column in reference.columns.items() if name != PREDICTION}
    note = "the log holds labels and the training profile scores: drift of the prediction is not judged"
    return Profile(rows=reference.rows, columns=columns), [note]


def _wait_until_over(start_at: int, end_at: int, clock: Clock) -> None:
    if not start_at < end_at:
        raise InvalidInput(f"a window ends after it starts, not [{start_at}, {end_at}).")
    early = end_at + SETTLE_MS - clock.now_ms()
    if early > SETTLE_MS:
        raise InvalidInput("the window is not over yet.", hint="lockgate monitor looks at the last complete one")
    if early > 0:
        clock.sleep(early / 1000)


def _named(window: MonitorWindow, environment: str, *, notes: tuple[str, ...], now: int) -> MonitorWindow:
    return _replace(
        window,
        window_id=look_id(window.model, environment, window.start_at, window.end_at),
        environment=environment,
        notes=(*notes, *window.notes),
        created_at=now,
    )


def _replace(window: MonitorWindow, **changes: object) -> MonitorWindow:
    import msgspec

    return msgspec.structs.replace(window, **changes)
