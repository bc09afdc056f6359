"""The first page: what there is, what serves, what needs attention."""

from lockgate.entities import Alert, Event, MonitorWindow, Record, Release, Rollout, Traffic
from lockgate.ui.render import render
from lockgate.wire.registry import VersionSummary


class ModelCard(Record, frozen=True, kw_only=True):
    """One model with its newest versions, and the releases among them by number."""

    name: str
    versions: tuple[VersionSummary, ...]
    releases: dict[int, Release]


class EnvironmentCard(Record, frozen=True, kw_only=True):
    """One environment of a model: what it must serve, its newest rollout, its newest finished look."""

    model: str
    name: str
    traffic: Traffic
    rollout: Rollout | None = None
    window: MonitorWindow | None = None


class Overview(Record, frozen=True, kw_only=True):
    """Everything that the page shows."""

    models: tuple[ModelCard, ...]
    environments: tuple[EnvironmentCard, ...]
    alerts: tuple[Alert, ...]
    events: tuple[Event, ...]
    at: int


def render_overview(overview: Overview) -> str:
    return render("overview.html.j2", title="Lockgate", overview=overview)
