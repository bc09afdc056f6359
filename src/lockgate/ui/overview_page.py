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
    """Everything that the page shows.

    The models are those whose name begins with `prefix` and comes after `after`; more come after `next_after`, None
    where these are the last. `more_environments` counts those whose traffic changed before that of all shown here.
    """

    models: tuple[ModelCard, ...]
    prefix: str = ""
    after: str = ""
    next_after: str | None = None
    environments: tuple[EnvironmentCard, ...]
    more_environments: int = 0
    alerts: tuple[Alert, ...]
    events: tuple[Event, ...]
    at: int


def render_overview(overview: Overview) -> str:
    return render("overview.html.j2", title="Lockgate", overview=overview)
