"""`lockgate.yaml`, decoded: what a model is made of, how it is judged, where it goes and how it is watched.

The keys of `stages` mean what they mean in dvc.yaml. Unknown keys are errors that name the line and the nearest key.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lockgate.documents import Document, read_document
from lockgate.entities import Scalar
from lockgate.errors import InvalidInput, NotFound

FILE_NAME = "lockgate.yaml"
STATE_FOLDER = ".lockgate"
# Aliases that are Lockgate's own: what the last environment serves, and what may become it.
CHAMPION, CHALLENGER = "champion", "challenger"
MAX_APPROVALS = 20
# Each window is a look of its own: with shorter ones `lockgate up` would do nothing but look.
LEAST_WINDOW = "1s"

Task = Literal["binary_classification", "multiclass_classification", "regression"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
# `team/churn` is the model churn in a folder.
ModelName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,99})*$", max_length=256)
]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Probability = Annotated[float, Meta(gt=0.0, lt=1.0)]
Duration = str  # 30s, 10m, 1h, 7d; `duration_s` reads it


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every mapping of the file."""


class Data(Section, frozen=True, kw_only=True):
    """A data file that the project stands on."""

    path: str  # CSV, Parquet or Arrow, relative to lockgate.yaml
    contract: str | None = None  # what every version of the file must look like; checked before the stages run


class Output(Section, frozen=True, kw_only=True):
    """Options of one output, as in dvc.yaml's mapping form (`- build/x.csv: {cache: false}`)."""

    cache: bool = True  # keep it in the store; false for what is committed to git
    persist: bool = False  # do not delete it before the stage runs
    desc: str | None = None


class Stage(Section, frozen=True, kw_only=True):
    """One command with what it reads and writes. `model` is an output that is the candidate."""

    cmd: str | list[str]  # run by the shell, one after the other
    wdir: str = "."  # where the commands run and the paths begin
    deps: list[str] = []  # files and folders that are read
    outs: list[str | dict[str, Output]] = []  # what is written; kept in the store, restored when deleted
    metrics: list[str | dict[str, Output]] = []  # outputs with numbers, recorded with the run
    plots: list[str | dict[str, Any]] = []  # kept as outputs; their rendering options are DVC's
    params: list[str | dict[str, list[str] | None]] = []  # keys of params.yaml, or of another file
    model: str | None = None  # the output that is the candidate: a model directory
    env: dict[str, str] = {}  # variables of the commands; a changed value runs the stage again
    timeout: Duration | None = None  # the stage is stopped and has failed
    retries: Annotated[int, Meta(ge=0, le=100)] = 0  # how often a failed stage is tried again
    frozen: bool = False  # never run it; its outputs are taken as they are
    always_changed: bool = False  # run it every time
    desc: str | None = None
    meta: Any = None  # free text for people and tools, as in dvc.yaml


class Evaluate(Section, frozen=True, kw_only=True):
    """The rows that candidate and champion are compared on."""

    data: str  # a table that the model has not learned from
    label: str  # the column with the truth
    features: list[str] | None = None  # default: the signature's columns
    positive: Scalar = None  # the positive class of a binary task; default: the larger label
    threshold: Share = 0.5  # score from which a row is positive
    metrics: list[str] = []  # more to report beside those that the gates ask for


class Gate:
    """One demand on a candidate. A plain base, because the kinds are told apart by their keys and not by a tag."""

    __slots__ = ()


class BoundGate(Section, Gate, frozen=True, kw_only=True):
    """An absolute demand on one metric."""

    metric: str
    min: float | None = None
    max: float | None = None


class ComparisonGate(Section, Gate, frozen=True, kw_only=True):
    """A paired comparison with the champion on the same rows: non-inferiority, or superiority by `margin`."""

    metric: str
    no_worse_than: Literal["champion"] | None = None
    better_than: Literal["champion"] | None = None
    margin: Annotated[float, Meta(ge=0.0)] = 0.0  # in units of the metric
    confidence: Probability = 0.95
    resamples: Annotated[int, Meta(ge=200, le=100_000)] = 2000  # of the paired bootstrap


class SliceGate(Section, Gate, frozen=True, kw_only=True):
    """One metric in every slice of some columns: the largest gap between slices, and the least allowed in any."""

    metric: str
    slices: list[str]  # columns; each of their values is a slice
    max_gap: Annotated[float, Meta(ge=0.0)] | None = None  # between the best and the worst slice
    min: float | None = None
    max: float | None = None
    min_support: Annotated[int, Meta(ge=1)] = 30  # rows; a smaller slice is reported and not judged


class BudgetGate(Section, Gate, frozen=True, kw_only=True):
    """What the loaded model may cost."""

    latency_ms_p50: float | None = None  # one row at a time, in the loaded model
    latency_ms_p99: float | None = None
    size_mb: float | None = None


class TestsGate(Section, Gate, frozen=True, kw_only=True):
    """Any command that writes JUnit XML. `{junit}` in it is replaced by the file to write; pytest gets it by itself."""

    __test__ = False

    tests: str
    junit: str | None = None  # the file that the command writes by itself
    timeout: Duration = "10m"


GATE_KINDS: tuple[type[Section], ...] = (BoundGate, ComparisonGate, SliceGate, BudgetGate, TestsGate)


class Promote(Section, frozen=True, kw_only=True):
    """How many people must say yes before a version may enter."""

    approvals: Annotated[int, Meta(ge=0, le=MAX_APPROVALS)] = 0  # of different people, before a version may enter


class Rollout(Section, frozen=True, kw_only=True):
    """How a version replaces the one before."""

    strategy: Literal["replace", "canary"] = "replace"
    steps: tuple[Annotated[int, Meta(ge=1, le=100)], ...] = (5, 25, 100)  # percentages of traffic; the last is 100
    bake: Duration | None = None  # how long each step is watched; default: 10m for canary, not at all for replace
    min_requests: Annotated[int, Meta(ge=0)] = 100  # to the new version, before a step may end
    latency_tolerance: Annotated[float, Meta(ge=1.0)] = 2.0  # times the stable version's; beyond it is worse
    false_rollback_rate: Probability = 0.01  # the chance that a version as good as the one before is rolled back

    @property
    def bake_s(self) -> float:
        """How long each step is watched; 0 for not at all."""
        if self.bake is not None:
            return duration_s(self.bake)
        return duration_s("10m") if self.strategy == "canary" else 0.0


class Environment(Section, frozen=True, kw_only=True):
    """A place that serves a version. `promote: automatic` deploys whatever passes its gates."""

    promote: Literal["automatic"] | Promote = Promote()
    rollout: Rollout = Rollout()
    port: Annotated[int, Meta(ge=1, le=65535)] | None = (
        None  # default: the setting serve_port, the next ones for further environments
    )

    @property
    def is_automatic(self) -> bool:
        return self.promote == "automatic"

    @property
    def approvals(self) -> int:
        return self.promote.approvals if isinstance(self.promote, Promote) else 0


class DriftMonitor(Section, frozen=True, kw_only=True):
    """The budget of false alarms over all windows and columns; `min_effect` is the smallest PSI that matters."""

    false_alarms_per_year: Annotated[float, Meta(gt=0.0)] = 1.0
    min_effect: Annotated[float, Meta(ge=0.0)] = 0.1
    columns: list[str] | None = None  # default: all of the signature and the prediction


class PerformanceMonitor(Section, frozen=True, kw_only=True):
    """A metric on predictions whose label is known."""

    metric: str
    min: float | None = None
    max: float | None = None
    label_delay: Duration = "0s"  # how long the truth takes to be known
    min_labels: Annotated[int, Meta(ge=1)] = 50  # in a window, before the metric is judged


class HealthMonitor(Section, frozen=True, kw_only=True):
    """Limits of the service itself."""

    error_rate: Share | None = None
    latency_ms_p99: float | None = None


class Monitor(Section, frozen=True, kw_only=True):
    """How production is watched."""

    environment: str | None = None  # default: the last one of `environments`
    window: Duration = "1h"  # at least 1s
    min_rows: Annotated[int, Meta(ge=1)] = 100  # in a window, before drift is judged
    drift: DriftMonitor = DriftMonitor()
    performance: PerformanceMonitor | None = None
    health: HealthMonitor = HealthMonitor()
    labels: str | None = None  # the label's name where it is not `evaluate.label`


class Retrain(Section, frozen=True, kw_only=True):
    """What starts a pipeline run under `lockgate up`."""

    on: list[
        Literal["data", "drift", "performance"]
    ] = []  # data: a file under `data`, or its contract, changed; drift, performance: an alert was raised
    schedule: str | None = None  # five cron fields, in UTC; a sixth before them is for seconds
    cooldown: Duration = "1h"  # no second run within


class AlertTarget(Section, frozen=True, kw_only=True):
    """An Apprise URL, or a reference to it."""

    url: str


class Project(Section, frozen=True, kw_only=True):
    """The whole file."""

    model: ModelName
    task: Task
    data: dict[Name, Data] = {}
    stages: dict[Name, Stage] = {}
    evaluate: Evaluate | None = None
    gates: list[Gate] = []
    environments: dict[Name, Environment] = {}  # in the order of promotion; each has an alias of its name
    monitor: Monitor | None = None
    retrain: Retrain = Retrain()
    alerts: list[AlertTarget] = []
    desc: str | None = None

    @property
    def candidate_stage(self) -> str | None:
        """The stage whose `model` output is the candidate; None where no stage makes one."""
        return next((name for name, stage in self.stages.items() if stage.model), None)

    @property
    def production(self) -> str | None:
        """The environment that the champion lives in: the last one."""
        return next(reversed(self.environments), None)


class Folder(msgspec.Struct, frozen=True):
    """A project where it lies: the decoded file and the folder around it."""

    root: Path
    project: Project

    @property
    def state(self) -> Path:
        """Everything that Lockgate keeps for this project."""
        return self.root / STATE_FOLDER


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` with a lockgate.yaml. Raises NotFound."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise NotFound(f"there is no {FILE_NAME} in {start} or above it.", hint="lockgate init")


def load_project(root: Path) -> Folder:
    """Read and check `root`/lockgate.yaml. Raises NotFound, or InvalidInput naming the line."""
    return Folder(root, decode_project(read_document(root / FILE_NAME)))


def decode_project(document: Document) -> Project:
    """The typed project. Raises InvalidInput naming the line of what is wrong."""
    if not isinstance(document.value, dict):
        raise document.error((), "expected a mapping with at least the keys model and task.")
    decoded = _gates_decoded(document)
    project = Document(document.path, {**document.value, "gates": []}, document.lines).convert(Project)
    project = msgspec.structs.replace(project, gates=decoded)
    for at, message in _problems(project):
        raise document.error(at, message)
    return project


def duration_s(text: Duration) -> float:
    """Seconds of `30s`, `10m`, `1.5h`, `7d`, `500ms`. Raises InvalidInput."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise InvalidInput(f"{text!r} is not a duration; write 500ms, 30s, 10m, 1h or 7d.")
    return float(found["number"]) * _UNITS[found["unit"]]


def alias_problem(name: str) -> str | None:
    """Why no alias may be called so, in the words of MLflow's server; None where one may."""
    if not name:
        return "Registered model alias name cannot be empty."
    if not re.fullmatch(r"[\w-]+", name):
        return f"Invalid alias name: {name!r}. Names may only contain alphanumerics, underscores (_), and dashes (-)."
    if len(name) > _MAX_ALIAS:
        return f"'Registered model alias name' exceeds the maximum length of {_MAX_ALIAS} characters"
    if name.lower() == "latest":
        return "'latest' alias name (case insensitive) is reserved."
    if re.fullmatch(r"[vV]\d+", name):
        return f"Version alias name {name!r} is reserved."
    return None


def environment_problems(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Of each name that cannot be an environment's beside the others, the name and why: it will be an alias as well."""
    spelled: dict[str, str] = {}
    for name in names:
        other = spelled.setdefault(name.lower(), name)
        if name.lower() in (CHAMPION, CHALLENGER):
            yield name, f"{name!r} cannot name an environment: Lockgate moves the alias of that name by itself."
        elif other != name:
            yield name, f"the environments {other!r} and {name!r} differ in capitals alone."
        elif len(name) > _MAX_ENVIRONMENT:
            yield name, f"the name of an environment has at most {_MAX_ENVIRONMENT} characters, not {len(name)}."
        elif problem := alias_problem(name):
            yield name, f"{name!r} cannot name an environment, which has an alias of its name: {problem}"


_MAX_ALIAS, _MAX_ENVIRONMENT = 255, 100
_DURATION = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<unit>ms|[smhd])")
_UNITS: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def output_paths(stage: Stage) -> Iterator[tuple[str, Output]]:
    """Every output of a stage with its options: outs, metrics, plots and the model."""
    named = set()
    for group in (stage.outs, stage.metrics, stage.plots):
        for item in group:
            entries = {item: None} if isinstance(item, str) else item
            for path, options in entries.items():
                named.add(path)
                yield path, options if isinstance(options, Output) else _plot_output(options)
    if stage.model and stage.model not in named:
        yield stage.model, Output()


def _plot_output(options: Any) -> Output:
    """The options of a plot that concern the file; the others are DVC's own."""
    given = options if isinstance(options, dict) else {}
    return Output(cache=given.get("cache") is not False, persist=given.get("persist") is True)


def _gates_decoded(document: Document) -> list[Gate]:
    """Gates are told apart by their keys, so that the file needs no `kind:`."""
    raw = document.value.get("gates") or []
    if not isinstance(raw, list):
        raise document.error(("gates",), "gates is a list: one mapping a gate.")
    gates: list[Gate] = []
    for i, item in enumerate(raw):
        if not isinstance(item, dict):
            raise document.error(("gates", i), f"a gate is a mapping, not {item!r}.")
        type_ = _gate_type(item)
        lines = {at[2:]: line for at, line in document.lines.items() if at[:2] == ("gates", i)}
        gate = Document(document.path, item, lines).convert(type_)
        for message in _gate_problems(gate):
            raise document.error(("gates", i), message)
        gates.append(gate)
    return gates


def _gate_type(item: dict[str, Any]) -> Any:  # one of the classes of Gate
    if "tests" in item:
        return TestsGate
    if "slices" in item:
        return SliceGate
    if "no_worse_than" in item or "better_than" in item:
        return ComparisonGate
    if "metric" in item:
        return BoundGate
    return BudgetGate


def _gate_problems(gate: Gate) -> Iterator[str]:
    for name, value in msgspec.structs.asdict(gate).items():  # type: ignore[arg-type]  # every kind is a Section
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} is a finite number, not {value}; leave it out where there is no limit."
    if isinstance(gate, BoundGate) and gate.min is None and gate.max is None:
        yield f"the gate on {gate.metric} asks for nothing: add min, max, or no_worse_than: champion."
    if isinstance(gate, ComparisonGate) and gate.no_worse_than and gate.better_than:
        yield "no_worse_than and better_than exclude each other."
    if isinstance(gate, SliceGate) and gate.max_gap is None and gate.min is None and gate.max is None:
        yield "a gate on slices needs max_gap, min or max."
    if isinstance(gate, BudgetGate) and not any(
        value is not None for value in (gate.latency_ms_p50, gate.latency_ms_p99, gate.size_mb)
    ):
        yield "an empty gate: name a metric, latency_ms_p99, size_mb or tests."


def _problems(project: Project) -> Iterator[tuple[tuple[str | int, ...], str]]:
    models = [name for name, stage in project.stages.items() if stage.model]
    if len(models) > 1:
        yield (
            ("stages", models[1], "model"),
            f"two stages write a model: {models[0]} and {models[1]}; a project has one.",
        )
    if project.gates and project.evaluate is None:
        needs_rows = [gate for gate in project.gates if isinstance(gate, BoundGate | ComparisonGate | SliceGate)]
        if needs_rows:
            yield ("gates",), "gates on a metric need `evaluate: {data: ..., label: ...}`."
    for name, problem in environment_problems(project.environments):
        yield ("environments", name), problem
    for name, environment in project.environments.items():
        steps = environment.rollout.steps
        if not steps or steps[-1] != 100 or list(steps) != sorted(set(steps)):
            yield (
                ("environments", name, "rollout", "steps"),
                f"the steps of a canary rise and end with 100, not {list(steps)}.",
            )
    if project.monitor and project.monitor.environment and project.monitor.environment not in project.environments:
        at = ("monitor", "environment")
        yield (
            at,
            f"there is no environment {project.monitor.environment!r}; "
            f"there are: {', '.join(project.environments) or 'none'}.",
        )
    if project.retrain.schedule is not None and len(project.retrain.schedule.split()) not in (5, 6):
        yield (
            ("retrain", "schedule"),
            f"{project.retrain.schedule!r} is no schedule: five cron fields in UTC, as in '0 3 * * 1'.",
        )
    for place, text, least in _durations(project):
        try:
            if duration_s(text) < duration_s(least):
                yield place, f"{place[-1]} is at least {least}, not {text}."
        except InvalidInput as error:
            yield place, error.message


def _durations(project: Project) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Each with its place and the least that makes sense: 0s to wait does, 0s to work in does not."""
    for name, stage in project.stages.items():
        if stage.timeout:
            yield ("stages", name, "timeout"), stage.timeout, "1ms"
    for name, environment in project.environments.items():
        if environment.rollout.bake is not None:
            yield ("environments", name, "rollout", "bake"), environment.rollout.bake, "0s"
    for i, gate in enumerate(project.gates):
        if isinstance(gate, TestsGate):
            yield ("gates", i, "timeout"), gate.timeout, "1ms"
    if project.monitor:
        yield ("monitor", "window"), project.monitor.window, LEAST_WINDOW
        if project.monitor.performance:
            yield ("monitor", "performance", "label_delay"), project.monitor.performance.label_delay, "0s"
    yield ("retrain", "cooldown"), project.retrain.cooldown, "0s"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of lockgate.yaml, for editors."""

    def gate(type_: type) -> dict[str, Any]:
        return {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in GATE_KINDS]}

    _, definitions = msgspec.json.schema_components(
        (Project, *GATE_KINDS), schema_hook=gate, ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FILE_NAME,
        "$ref": "#/$defs/Project",
        "$defs": definitions,
    }
