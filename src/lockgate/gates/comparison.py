"""`{metric: roc_auc, no_worse_than: champion, margin: 0.005, confidence: 0.95}`: paired with the champion on the rows.

The candidate carries the burden of proof. `no_worse_than` passes where the lower confidence bound of its gain lies at
or above -margin; `better_than` where it lies above +margin. A candidate that is worse by the margin passes with
probability 1 - confidence at most.
"""

from lockgate.entities import Check
from lockgate.errors import InvalidInput
from lockgate.gates.measured import Measured
from lockgate.gates.words import number, percent, signed
from lockgate.project import ComparisonGate
from lockgate.stats.metrics import Array
from lockgate.stats.paired_metric import Estimate


def check_comparison(gate: ComparisonGate, measured: Measured) -> Check:
    """Skipped where there is no champion yet, or none that was released; failed where the two cannot be compared."""
    name = describe_comparison(gate)
    if measured.champion_version is None:
        reason = "there is no champion yet to compare with."
        if measured.unreleased_champion is not None:
            what = f"champion version {measured.unreleased_champion} was registered from outside"
            reason = f"{what}: it has no release to compare with."
        return Check(gate=name, kind="comparison", status="skipped", metric=gate.metric, reason=reason)
    problem = _why_incomparable(gate, measured)
    if problem is None:
        try:
            gain = measured.gain(gate.metric, confidence=gate.confidence, resamples=gate.resamples)
        except InvalidInput as error:
            problem = error.message
    if problem is not None:
        return Check(gate=name, kind="comparison", status="failed", metric=gate.metric, reason=problem)
    assert measured.champion is not None
    bound = -gate.margin if gate.no_worse_than else gate.margin
    is_met = gain.low >= bound if gate.no_worse_than else gain.low > bound
    return Check(
        gate=name,
        kind="comparison",
        status="passed" if is_met else "failed",
        reason=_reason(gate, gain, bound, is_met=is_met),
        metric=gate.metric,
        value=measured.candidate.metrics[gate.metric],
        bound=bound,
        champion_value=measured.champion.metrics[gate.metric],
        low=gain.low,
        high=gain.high,
        confidence=gate.confidence,
        details={
            "gain": gain.value,
            "method": gain.method,
            "resamples": gate.resamples,
            "champion_version": measured.champion_version,
            **_disagreement(gate, measured),
        },
    )


def describe_comparison(gate: ComparisonGate) -> str:
    if gate.no_worse_than:
        return f"{gate.metric} no worse than champion (margin {number(gate.margin)})"
    return f"{gate.metric} better than champion" + (f" by {number(gate.margin)}" if gate.margin else "")


def _why_incomparable(gate: ComparisonGate, measured: Measured) -> str | None:
    if measured.champion_problem is not None:
        return f"champion version {measured.champion_version} cannot be asked: {measured.champion_problem}"
    for who, evaluation in (("candidate", measured.candidate), ("champion", measured.champion)):
        if evaluation is None:
            return f"the {who} was not evaluated."
        if gate.metric not in evaluation.metrics:
            return f"the {who}'s {gate.metric}: {evaluation.undefined.get(gate.metric, 'it was not computed.')}"
    return None


def _reason(gate: ComparisonGate, gain: Estimate, bound: float, *, is_met: bool) -> str:
    change = (
        "unchanged" if gain.value == 0 else f"{'better' if gain.value > 0 else 'worse'} by {number(abs(gain.value))}"
    )
    says = f"{change}; with {percent(gate.confidence)} confidence the gain is at least {signed(gain.low)}"
    if is_met:
        return f"{says}, and {signed(bound)} is allowed." if gate.no_worse_than else f"{says}, above {signed(bound)}."
    if gate.no_worse_than and gain.value >= bound:
        needed = "the gate asks for"
        return f"{says}, and {needed} {signed(bound)}: these rows cannot rule out that it is worse; add rows or margin."
    return f"{says}, and the gate asks for {'' if gate.no_worse_than else 'more than '}{signed(bound)}."


def _disagreement(gate: ComparisonGate, measured: Measured) -> dict[str, int | float]:
    """For accuracy also the exact McNemar test, which many know better than a bootstrap."""
    if gate.metric != "accuracy":
        return {}
    from lockgate.stats.mcnemar import mcnemar_exact

    assert measured.champion is not None and measured.champion.answers and measured.candidate.answers
    candidate = _right(measured.candidate.rows.truth, measured.candidate.answers.predictions)
    champion = _right(measured.champion.rows.truth, measured.champion.answers.predictions)
    return {
        "gained_rows": int((candidate & ~champion).sum()),
        "lost_rows": int((champion & ~candidate).sum()),
        "mcnemar_p": mcnemar_exact(candidate, champion).p_value,
    }


def _right(truth: Array, predictions: Array) -> Array:
    right: Array = truth == predictions
    return right
