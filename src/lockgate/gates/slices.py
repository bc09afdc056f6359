"""`{metric: recall, slices: [contract], max_gap: 0.10}`: one metric in every slice of some columns.

Small slices differ by chance, and the more slices the larger their largest gap. So a slice (or a pair of slices)
refuses the candidate only where it breaks the limit by more than chance explains: one-sided z tests with bootstrap
standard errors, Holm's correction over all tests of the gate, level .05. A gap above the limit that may be chance is
named in the reason. A slice counts with `min_support` rows that the metric is computed on: positives for recall.

Reference: Holm (1979); Agresti and Coull (1998), Approximate is better than "exact" for interval estimation of binomial
proportions, The American Statistician 52 (why an all-right slice still has an error of about one row).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lockgate.entities import Check
from lockgate.errors import InvalidInput
from lockgate.gates.evaluate import Evaluation
from lockgate.gates.words import count, number
from lockgate.project import SliceGate
from lockgate.stats.corrections import holm
from lockgate.stats.metrics import REGRESSION
from lockgate.stats.paired_metric import Answers, Rows, metric_estimate

if TYPE_CHECKING:
    import polars as pl

LEVEL = 0.05
_RESAMPLES = 400
_MOST_SLICES = 50  # of one column: the largest ones
_QUARTILES_FROM = 11  # distinct numbers: above ten they are cut at their quartiles

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SliceValue:
    """The metric in one slice; `value` is None where it has too little support or does not define the metric."""

    metric: str
    column: str
    label: str
    support: int
    value: float | None
    standard_error: float = 0.0
    champion_value: float | None = None

    @property
    def name(self) -> str:
        is_bound = self.label.startswith(("<= ", "> "))
        return f"{self.column} {'' if is_bound else '= '}{self.label}"


@dataclass(frozen=True, slots=True)
class _Claim:
    """'This breaks the limit': by how much, and how probable so much is by chance."""

    text: str
    excess: float
    p_value: float


def check_slices(
    gate: SliceGate, evaluation: Evaluation, champion: Evaluation | None, frame: "pl.DataFrame", *, seed: int
) -> tuple[Check, list[SliceValue]]:
    """The check and every slice's value. Raises InvalidInput for a column that the evaluation data lacks."""
    name = describe_slices(gate)
    values = _slice_values(gate, evaluation, champion, frame, seed=seed)
    usable = [value for value in values if value.value is not None]
    if evaluation.answers is None or not usable:
        reason = evaluation.problem or f"no slice has {count(gate.min_support, 'row')} that define {gate.metric}"
        return Check(gate=name, kind="slices", status="failed", metric=gate.metric, reason=reason + "."), values
    claims = [*_gap_claims(gate, usable), *_bound_claims(gate, usable)]
    if not claims:
        reason = f"only one slice has {count(gate.min_support, 'row')}: there is nothing to compare it with."
        return Check(gate=name, kind="slices", status="skipped", metric=gate.metric, reason=reason), values
    adjusted = holm([claim.p_value for claim in claims])
    worst = max(range(len(claims)), key=lambda i: (adjusted[i] < LEVEL, claims[i].excess))
    refused = bool(adjusted[worst] < LEVEL and claims[worst].excess > 0)
    reason = claims[worst].text
    if refused:
        reason += f": more than chance explains (p = {adjusted[worst]:.2g}, Holm over {count(len(claims), 'test')})"
    elif claims[worst].excess > 0:
        reason += f": over the limit, but within chance (p = {adjusted[worst]:.2g}); more rows would tell"
    left_out = len(values) - len(usable)
    if left_out:
        reason += f"; {count(left_out, 'slice')} left out with fewer than {count(gate.min_support, 'row')}"
    low = min(usable, key=lambda v: v.value or 0.0)
    high = max(usable, key=lambda v: v.value or 0.0)
    assert low.value is not None and high.value is not None
    return Check(
        gate=name,
        kind="slices",
        status="failed" if refused else "passed",
        reason=reason + ".",
        metric=gate.metric,
        value=high.value - low.value if gate.max_gap is not None else (low if gate.min is not None else high).value,
        bound=gate.max_gap if gate.max_gap is not None else gate.min if gate.min is not None else gate.max,
        confidence=1 - LEVEL,
        details={
            "slices": len(usable),
            "left_out": left_out,
            "lowest": low.name,
            "lowest_value": low.value,
            "highest": high.name,
            "highest_value": high.value,
            "p_adjusted": float(adjusted[worst]),
            "correction": "Holm",
        },
    ), values


def describe_slices(gate: SliceGate) -> str:
    asks = (("gap <=", gate.max_gap), (">=", gate.min), ("<=", gate.max))
    wanted = ", ".join(f"{sign} {number(bound)}" for sign, bound in asks if bound is not None)
    return f"{gate.metric} by {', '.join(gate.slices)}: {wanted}"


# -- the values -------------------------------------------------------------------------------------------------------


def _slice_values(
    gate: SliceGate, evaluation: Evaluation, champion: Evaluation | None, frame: "pl.DataFrame", *, seed: int
) -> list[SliceValue]:
    absent = [column for column in gate.slices if column not in frame.columns]
    if absent:
        raise InvalidInput(
            f"the evaluation data has no column {absent[0]!r} to slice by; it has: {', '.join(frame.columns[:20])}.",
            hint=f"correct the gate on {gate.metric} in lockgate.yaml",
        )
    if evaluation.answers is None:
        return []
    rng = np.random.default_rng(seed)
    found: list[SliceValue] = []
    for column in gate.slices:
        for label, mask in iter_slices(frame[column]):
            found.append(_slice_value(gate, evaluation, champion, column, label, mask, rng))
    return found


def _slice_value(
    gate: SliceGate,
    evaluation: Evaluation,
    champion: Evaluation | None,
    column: str,
    label: str,
    mask: Mask,
    rng: np.random.Generator,
) -> SliceValue:
    rows, answers = _only(evaluation, mask)
    support = _support(gate.metric, rows, answers)
    if support < gate.min_support:
        return SliceValue(gate.metric, column, label, support, None)
    try:
        estimate = metric_estimate(gate.metric, rows, answers, confidence=0.95, resamples=_RESAMPLES, rng=rng)
    except InvalidInput:  # one class only in this slice: it has no such value
        return SliceValue(gate.metric, column, label, support, None)
    if not np.isfinite(estimate.value):
        return SliceValue(gate.metric, column, label, support, None)
    # All right in 40 rows is no proof of never wrong: the error of a share is never below one row's.
    floor = 1.0 / support if rows.task != REGRESSION else 0.0
    beside = _champion_value(gate.metric, champion, mask)
    error = max(estimate.standard_error, floor)
    return SliceValue(gate.metric, column, label, support, estimate.value, error, beside)


def _champion_value(metric: str, champion: Evaluation | None, mask: Mask) -> float | None:
    from lockgate.stats.metrics import compute_metric

    if champion is None or champion.answers is None:
        return None
    rows, answers = _only(champion, mask)
    try:
        return compute_metric(
            metric,
            rows.task,
            rows.truth,
            answers.predictions,
            answers.scores,
            classes=rows.classes,
            positive=rows.positive,
        )
    except InvalidInput:
        return None


def _only(evaluation: Evaluation, mask: Mask) -> tuple[Rows, Answers]:
    assert evaluation.answers is not None
    rows, answers = evaluation.rows, evaluation.answers
    scores = None if answers.scores is None else answers.scores[mask]
    return (
        Rows(rows.task, rows.truth[mask], rows.classes, rows.positive),
        Answers(answers.predictions[mask], scores),
    )


def _support(metric: str, rows: Rows, answers: Answers) -> int:
    if metric == "recall":
        return int((rows.truth == rows.positive).sum())
    if metric == "precision":
        return int((answers.predictions == rows.positive).sum())
    return len(rows.truth)


def iter_slices(series: "pl.Series") -> Iterator[tuple[str, Mask]]:
    """Label and rows of each slice: a value each, or the quartiles of many numbers; missing values are a slice."""
    import polars as pl

    missing = series.is_null()
    if series.dtype.is_numeric() and series.n_unique() >= _QUARTILES_FROM:
        cuts = np.unique(np.nanquantile(series.drop_nulls().to_numpy(), (0.25, 0.5, 0.75)))
        at = np.searchsorted(cuts, series.fill_null(0).to_numpy(), side="left")
        present = ~missing.to_numpy()
        labels = [f"<= {number(cuts[0])}"]
        labels += [f"{number(a)} to {number(b)}" for a, b in pairwise(cuts)]
        labels.append(f"> {number(cuts[-1])}")
        for i, label in enumerate(labels):
            yield label, (at == i) & present
    else:
        counts = series.drop_nulls().cast(pl.String).value_counts(sort=True)
        text = series.cast(pl.String)
        for label in sorted(counts[series.name].head(_MOST_SLICES).to_list()):
            yield label, (text == label).fill_null(False).to_numpy()
    if missing.any():
        yield "(missing)", missing.to_numpy()


# -- the tests --------------------------------------------------------------------------------------------------------


def _gap_claims(gate: SliceGate, values: list[SliceValue]) -> Iterator[_Claim]:
    """Every pair of slices of one column against 'their gap is at most max_gap'."""
    if gate.max_gap is None:
        return
    for a, b in combinations(values, 2):
        if a.column != b.column:
            continue
        assert a.value is not None and b.value is not None
        low, high = (a, b) if a.value <= b.value else (b, a)
        gap = abs(a.value - b.value)
        error = float(np.hypot(a.standard_error, b.standard_error))
        text = (
            f"{gate.metric} is {number(low.value)} where {low.name} ({count(low.support, 'row')}) and "
            f"{number(high.value)} where {high.name} ({count(high.support, 'row')}), "
            f"a gap of {number(gap)} of {number(gate.max_gap)} allowed"
        )
        # Two sides, because the data chose which slice is the lower one.
        p = _tail((gap - gate.max_gap) / error) + _tail((gap + gate.max_gap) / error) if error > 0 else 1.0
        yield _Claim(text, gap - gate.max_gap, min(p, 1.0) if error > 0 else float(gap <= gate.max_gap))


def _bound_claims(gate: SliceGate, values: list[SliceValue]) -> Iterator[_Claim]:
    for bound, sign, words in ((gate.min, 1.0, "at least"), (gate.max, -1.0, "at most")):
        if bound is None:
            continue
        for value in values:
            assert value.value is not None
            short = sign * (bound - value.value)
            text = (
                f"{gate.metric} is {number(value.value)} where {value.name} ({count(value.support, 'row')}), "
                f"{words} {number(bound)} is asked for"
            )
            p = _tail(short / value.standard_error) if value.standard_error > 0 else float(short <= 0)
            yield _Claim(text, short, p)


def _tail(z: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(-z))
