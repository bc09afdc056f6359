"""All gates of a project asked about one candidate: a verdict, with what the report needs to explain it.

    rows -> candidate evaluated, champion evaluated -> one check a gate (or a limit of it) -> verdict

A gate's `no` is a failed check, never an exception. What raises is what makes judging impossible: a candidate that
does not load, rows that are not there or lack its features.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.clock import Clock
from lockgate.data.frames import read_frame
from lockgate.entities import Check, Verdict
from lockgate.errors import InvalidInput, LockgateError
from lockgate.gates.behaviour import check_tests
from lockgate.gates.bounds import CONFIDENCE, RESAMPLES, check_bound
from lockgate.gates.budget import check_budget, measure_latency
from lockgate.gates.comparison import check_comparison
from lockgate.gates.evaluate import Answering, Evaluation, evaluate, metric_names
from lockgate.gates.measured import Measured
from lockgate.gates.rows import EvaluationRows, ReadFrame, read_rows
from lockgate.gates.slices import SliceValue, check_slices
from lockgate.models.load import LoadedModel, load_model
from lockgate.models.signature import columns_from_frame
from lockgate.project import BoundGate, BudgetGate, ComparisonGate, Project, SliceGate, TestsGate

if TYPE_CHECKING:
    import polars as pl

    from lockgate.data.profile import Profile

# Rankings cost a pass over the rows a resample; in the table they get an interval up to this size.
_TABLE_CELLS = 4_000_000
_FEWEST_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One line of the report's table. A gain above 0 is better; `low` and `high` bound it, or else the value."""

    metric: str
    value: float | None
    champion_value: float | None
    gain: float | None
    low: float | None
    high: float | None
    note: str | None = None


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it was made from."""

    project: Project
    verdict: Verdict
    flavor: str
    evaluation: Evaluation | None
    champion_evaluation: Evaluation | None
    table: tuple[MetricRow, ...]
    slices: tuple[SliceValue, ...]
    notes: tuple[str, ...]

    @cached_property
    def profile_frame(self) -> "pl.DataFrame | None":
        """Features and prediction of the evaluation rows; None without evaluation data."""
        return self.evaluation.profile_frame if self.evaluation else None

    @cached_property
    def profile(self) -> "Profile | None":
        """What monitoring will compare production with; None where there were no rows."""
        from lockgate.data.profile import profile_frame

        if self.profile_frame is None or self.profile_frame.height == 0:
            return None
        return profile_frame(self.profile_frame)


def judge(
    project: Project,
    *,
    root: Path,
    candidate: Path,
    champion: Path | None,
    champion_version: int | None,
    clock: Clock,
    unreleased_champion: int | None = None,
    seed: int = 0,
    environ: Mapping[str, str] = os.environ,
    read: ReadFrame = read_frame,
) -> Judgement:
    """Judge the model in `candidate` beside the one in `champion`; both directories must be trusted.

    Without a champion, `unreleased_champion` is the version that has the alias and cannot be asked. `environ` is what
    behavioural tests are started with. Raises what loading the candidate or reading the rows raises.
    """
    model = load_model(candidate)
    measured: Measured | None = None
    data: EvaluationRows | None = None
    if project.evaluate is not None:
        data = read_rows(root, project.evaluate, project.task, read=read)
        measured = _measure(project, model, data, champion, champion_version, seed)
        measured.unreleased_champion = unreleased_champion
    checks: list[Check] = [] if measured is None else _prediction_checks(measured.candidate)
    slices: list[SliceValue] = []
    latencies = _latencies(project, model, measured, clock)
    for gate in project.gates:
        if isinstance(gate, TestsGate):
            checks.append(check_tests(gate, root=root, candidate=candidate, environ=environ))
        elif isinstance(gate, BudgetGate):
            checks += check_budget(gate, size_bytes=model.size_bytes, latencies_ms=latencies)
        elif measured is None or data is None:
            raise InvalidInput("gates on a metric need `evaluate: {data: ..., label: ...}` in lockgate.yaml.")
        elif isinstance(gate, BoundGate):
            checks.append(check_bound(gate, measured))
        elif isinstance(gate, ComparisonGate):
            checks.append(check_comparison(gate, measured))
        elif isinstance(gate, SliceGate):
            check, values = check_slices(gate, measured.candidate, measured.champion, data.frame, seed=seed)
            checks.append(check)
            slices += values
    verdict = Verdict(
        passed=all(check.status != "failed" for check in checks),
        checks=tuple(checks),
        metrics=dict(measured.candidate.metrics) if measured else {},
        champion_version=champion_version,
        rows=len(data.truth) if data else 0,
        decided_at=clock.now_ms(),
    )
    return Judgement(
        project=project,
        verdict=verdict,
        flavor=model.flavor,
        evaluation=measured.candidate if measured else None,
        champion_evaluation=measured.champion if measured else None,
        table=_table(measured) if measured else (),
        slices=tuple(slices),
        notes=tuple(_notes(data, measured)),
    )


def _measure(
    project: Project,
    model: LoadedModel,
    data: EvaluationRows,
    champion: Path | None,
    champion_version: int | None,
    seed: int,
) -> Measured:
    assert project.evaluate is not None
    asked = [gate.metric for gate in project.gates if isinstance(gate, BoundGate | ComparisonGate | SliceGate)]
    names = metric_names(project.task, project.evaluate.metrics, asked)
    other: Answering | None = None
    problem: str | None = None
    if champion is not None:
        try:
            other = load_model(champion)
        except LockgateError as error:
            problem = error.message

    def ask(one: Answering, beside: Answering | None) -> Evaluation:
        assert project.evaluate is not None
        known = (beside.classes or ()) if beside else ()
        return evaluate(one, data, options=project.evaluate, task=project.task, metrics=names, also_known=known)

    candidate_evaluation = ask(model, other)
    champion_evaluation: Evaluation | None = None
    if other is not None:
        try:
            champion_evaluation = ask(other, model)
        except LockgateError as error:  # an old model on new rows: a reason to compare nothing, not to crash
            problem = error.message
    return Measured(candidate_evaluation, champion_evaluation, champion_version, problem, seed)


def _prediction_checks(evaluation: Evaluation) -> list[Check]:
    if evaluation.problem is None:
        return []
    return [Check(gate="predictions can be judged", kind="contract", status="failed", reason=evaluation.problem + ".")]


def _latencies(project: Project, model: LoadedModel, measured: Measured | None, clock: Clock) -> Sequence[float] | None:
    wanted = [gate for gate in project.gates if isinstance(gate, BudgetGate)]
    if measured is None or not any(gate.latency_ms_p50 or gate.latency_ms_p99 for gate in wanted):
        return None
    features = measured.candidate.features.head(100)
    return measure_latency(model, columns_from_frame(features, model.signature), clock=clock)


def _table(measured: Measured) -> tuple[MetricRow, ...]:
    return tuple(_row(name, measured) for name in (*measured.candidate.metrics, *measured.candidate.undefined))


def _row(name: str, measured: Measured) -> MetricRow:
    candidate, champion = measured.candidate, measured.champion
    value = candidate.metrics.get(name)
    beside = champion.metrics.get(name) if champion else None
    if value is None:
        return MetricRow(name, None, beside, None, None, None, candidate.undefined.get(name))
    resamples = max(_FEWEST_RESAMPLES, min(RESAMPLES, _TABLE_CELLS // max(len(candidate.rows.truth), 1)))
    try:
        if beside is None:
            alone = measured.value(name, confidence=CONFIDENCE, resamples=resamples)
            return MetricRow(name, value, None, None, alone.low, alone.high)
        gain = measured.gain(name, confidence=CONFIDENCE, resamples=resamples)
    except InvalidInput as error:
        return MetricRow(name, value, beside, None, None, None, error.message)
    return MetricRow(name, value, beside, gain.value, gain.low, gain.high)


def _notes(data: EvaluationRows | None, measured: Measured | None) -> list[str]:
    notes: list[str] = []
    if data is not None and data.without_label:
        notes.append(f"{data.without_label:,} rows without the label {data.label!r} were left out.")
    if measured is not None and measured.champion_problem is not None:
        notes.append(f"Champion version {measured.champion_version} could not be asked: {measured.champion_problem}")
    if measured is not None and measured.champion is not None and measured.champion.problem is not None:
        notes.append(f"Champion version {measured.champion_version}: {measured.champion.problem}.")
    return notes
