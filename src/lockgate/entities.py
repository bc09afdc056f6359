"""The records of the product: frozen values, compared by content, that travel and are stored as they are here.

Times are milliseconds since the Unix epoch (`*_at`), durations are seconds (`*_s`), shares are fractions of one.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Scalar = bool | int | float | str | None


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything below."""


class Content(Record, frozen=True, kw_only=True):
    """Some bytes by their identity: one file, or a directory whose canonical manifest has this digest."""

    kind: Literal["file", "tree"]
    digest: str
    size_bytes: int
    files: int = 1


# -- gates ------------------------------------------------------------------------------------------------------------

CheckStatus = Literal["passed", "failed", "skipped"]


class Check(Record, frozen=True, kw_only=True):
    """One gate's decision about one candidate, with the numbers it was decided on.

    `low` and `high` bound the value or the difference to the champion at `confidence`; `bound` is what the gate asks.
    """

    gate: str
    kind: Literal["bound", "comparison", "slices", "budget", "tests", "contract"]
    status: CheckStatus
    reason: str
    metric: str | None = None
    value: float | None = None
    bound: float | None = None
    champion_value: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    details: dict[str, Scalar] = {}


class Verdict(Record, frozen=True, kw_only=True):
    """What all gates of a model say of one candidate. A verdict is final: another look makes another verdict."""

    passed: bool
    checks: tuple[Check, ...]
    metrics: dict[str, float]
    champion_version: int | None
    rows: int
    decided_at: int

    @property
    def refusals(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == "failed")


# -- registry ---------------------------------------------------------------------------------------------------------


class Release(Record, frozen=True, kw_only=True):
    """The verifiable record behind a model version: everything that made it and everything that was decided on it."""

    model: str
    version: int
    content: Content
    run_id: str
    created_at: int
    created_by: str
    flavor: str
    commit: str | None = None
    dirty_diff: str | None = None  # digest of the stored `git diff`, when the tree was not clean
    data: dict[str, Content] = {}
    params: dict[str, Scalar] = {}
    environment: str | None = None  # digest of the stored list of installed distributions
    profile: str | None = None  # digest of the stored training profile that monitoring compares with
    report: str | None = None  # digest of the stored folder with the gate report
    verdict: Verdict | None = None


# What to do about a version without that record, which MLflow's clients and imports register.
HOW_TO_RELEASE = "have a stage of lockgate.yaml make it: lockgate run judges and releases what its stages make"


class Approval(Record, frozen=True, kw_only=True):
    """Somebody's word that a version may go to an environment."""

    model: str
    version: int
    environment: str
    approver: str
    approved_at: int
    comment: str = ""


class AliasChange(Record, frozen=True, kw_only=True):
    """One move of an alias. `to_version` is None where the alias was removed."""

    model: str
    alias: str
    from_version: int | None
    to_version: int | None
    changed_at: int
    changed_by: str
    reason: str = ""


# -- delivery ---------------------------------------------------------------------------------------------------------

RolloutState = Literal["pending", "progressing", "baking", "succeeded", "rolling_back", "rolled_back", "superseded"]


# Checked where a transition is written and again where it is read.
LEGAL_MOVES: Mapping[RolloutState, frozenset[RolloutState]] = {
    "pending": frozenset({"progressing", "rolling_back", "superseded"}),
    "progressing": frozenset({"baking", "progressing", "rolling_back", "superseded"}),
    "baking": frozenset({"progressing", "succeeded", "rolling_back", "superseded"}),
    "rolling_back": frozenset({"rolled_back"}),
    "succeeded": frozenset(),
    "rolled_back": frozenset(),
    "superseded": frozenset(),
}


class Rollout(Record, frozen=True, kw_only=True):
    """One attempt to bring a version into an environment. `revision` counts its transitions: writers race on it."""

    rollout_id: str
    model: str
    environment: str
    version: int
    baseline_version: int | None
    strategy: Literal["replace", "canary", "rollback"]
    steps: tuple[int, ...]  # percentages of traffic, ascending, the last one 100
    bake_s: float
    false_rollback_rate: float
    min_requests: int = 100  # the least a step must see before it may end
    latency_tolerance: float = 2.0  # a canary that is at most this many times slower is no worse
    baseline_requests: int = 0  # what the baseline had counted when all traffic left it at once; `replace` compares
    baseline_errors: int = 0
    state: RolloutState
    step: int  # index into steps of the share that is served now; -1 before the first
    revision: int
    created_at: int
    created_by: str
    updated_at: int
    reason: str = ""
    override_reason: str | None = None  # set where somebody deployed against a gate's word
    begun_because: str = ""  # what whoever began it has said


class RolloutTransition(Record, frozen=True, kw_only=True):
    """One legal move of a rollout, with what it was decided on."""

    rollout_id: str
    revision: int
    from_state: RolloutState
    to_state: RolloutState
    step: int
    at: int
    by: str
    reason: str
    evidence: dict[str, Scalar] = {}


class TrafficShare(Record, frozen=True, kw_only=True):
    """One version that an environment serves, and the share of requests it gets in [0, 1]."""

    version: int
    digest: str
    share: float
    role: Literal["stable", "canary"] = "stable"


class Traffic(Record, frozen=True, kw_only=True):
    """What an environment's replicas must serve: the one document between delivery and serving."""

    model: str
    environment: str
    revision: int
    shares: tuple[TrafficShare, ...]
    changed_at: int
    rollout_id: str | None = None


class VersionCounters(Record, frozen=True, kw_only=True):
    """What a replica has counted for one version since it started serving `Traffic.revision`.

    Of the `requests` that were answered, `errors` are those that the model failed on; `refused` are further ones, whose
    input the version does not take. `latency_ms_counts[i]` counts requests at most `latency_ms_edges[i]` (the last bin
    is the rest).
    """

    version: int
    requests: int
    errors: int
    refused: int = 0
    latency_ms_edges: tuple[float, ...] = ()
    latency_ms_counts: tuple[int, ...] = ()


class Observation(Record, frozen=True, kw_only=True):
    """One look at a replica: which traffic revision it serves and what it counted since."""

    replica: str
    revision: int
    observed_at: int
    ready: bool
    counters: tuple[VersionCounters, ...]
    error: str | None = None  # why that revision is not served: a version of it does not load


# -- serving ----------------------------------------------------------------------------------------------------------


class Prediction(Record, frozen=True, kw_only=True):
    """One answered row of the prediction log. `inputs` keeps the signature's column names.

    `scores` are a classifier's probabilities, in the order of the model's classes.
    """

    prediction_id: str
    at: int
    model: str
    version: int
    environment: str
    inputs: dict[str, Scalar]
    output: Scalar | tuple[float, ...]
    latency_ms: float
    status: int = 200
    error: str | None = None
    scores: tuple[float, ...] | None = None


class Feedback(Record, frozen=True, kw_only=True):
    """The truth about one prediction, once it is known."""

    prediction_id: str
    label: Scalar
    at: int


# -- monitoring -------------------------------------------------------------------------------------------------------


class ColumnDrift(Record, frozen=True, kw_only=True):
    """One column (or the prediction) compared with its profile from training."""

    column: str
    method: str
    statistic: float
    p_value: float
    p_adjusted: float
    effect: float  # population stability index
    drift_detected: bool


class MonitorWindow(Record, frozen=True, kw_only=True):
    """One finished look at one environment over [start_at, end_at)."""

    window_id: str
    model: str
    environment: str
    version: int
    start_at: int
    end_at: int
    rows: int
    labelled_rows: int
    error_rate: float
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    drift: tuple[ColumnDrift, ...]
    quality: tuple[str, ...]  # broken expectations, in words
    notes: tuple[str, ...] = ()  # what the reader must know: too few rows, several versions, no labels yet
    performance: dict[str, float]
    alerts: tuple[str, ...]  # kinds raised by this window: drift, performance, quality, health
    profile: str | None = None  # digest of the window's own stored profile
    created_at: int


class Alert(Record, frozen=True, kw_only=True):
    """A condition that somebody must hear of once. Open until a later window is healthy again."""

    alert_id: str
    model: str
    environment: str
    kind: Literal["drift", "performance", "quality", "health", "rollback"]
    summary: str
    opened_at: int
    window_id: str | None = None
    closed_at: int | None = None
    notified_at: int | None = None


class Event(Record, frozen=True, kw_only=True):
    """One line of an installation's history, in the order it was written."""

    sequence: int
    kind: str  # run.finished, version.created, gate.decided, alias.moved, rollout.changed, alert.opened, ...
    subject: str
    at: int
    by: str
    details: dict[str, Scalar] = {}


# -- access -----------------------------------------------------------------------------------------------------------

Role = Literal["viewer", "contributor", "approver", "admin"]


class Grant(Record, frozen=True, kw_only=True):
    """A role on the models and experiments of a pattern: a name, `team/*`, or `*` for the installation."""

    pattern: str
    role: Role


class User(Record, frozen=True, kw_only=True):
    """Somebody, or some program, that logs in."""

    name: str
    number: int
    has_password: bool
    grants: tuple[Grant, ...]
    created_at: int
    created_by: str


class Token(Record, frozen=True, kw_only=True):
    """A bearer token without its secret, which nobody can read again. `expires_at` None: it never does."""

    token_id: str
    user: str
    note: str
    created_at: int
    created_by: str
    expires_at: int | None


class AuditEntry(Record, frozen=True, kw_only=True):
    """One write, or one attempt: `outcome` is OK or the code of the error that it ended with."""

    sequence: int
    at: int
    by: str
    address: str  # empty: a process that opened the database itself
    operation: str
    subject: str  # the model or experiment; empty: the installation
    outcome: str
    details: dict[str, Scalar] = {}
