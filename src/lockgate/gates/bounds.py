"""`{metric: roc_auc, min: 0.80}`: an absolute demand on one metric of the candidate."""

from lockgate.entities import Check
from lockgate.errors import InvalidInput
from lockgate.gates.measured import Measured
from lockgate.gates.words import number
from lockgate.project import BoundGate

CONFIDENCE = 0.95
RESAMPLES = 1000


def check_bound(gate: BoundGate, measured: Measured) -> Check:
    """Decides on the value itself; `low` and `high` tell how far it would move on other rows of the same kind."""
    name = describe_bound(gate)
    candidate = measured.candidate
    if gate.metric not in candidate.metrics:
        reason = candidate.undefined.get(gate.metric, f"{gate.metric} was not computed.")
        return Check(gate=name, kind="bound", status="failed", metric=gate.metric, reason=reason)
    value = candidate.metrics[gate.metric]
    limit, is_met, words = _decide(gate, value)
    low = high = confidence = None
    reason = f"{gate.metric} is {number(value)}, {words}"
    try:
        interval = measured.value(gate.metric, confidence=CONFIDENCE, resamples=RESAMPLES)
    except InvalidInput as error:
        reason += f"; no interval: {error.message.rstrip('.')}"
    else:
        low, high, confidence = interval.low, interval.high, CONFIDENCE
        if (low < limit <= value) or (value <= limit < high):
            reason += f" (between {number(low)} and {number(high)} on other rows of this kind; more rows would tell)"
    champion = measured.champion.metrics.get(gate.metric) if measured.champion else None
    return Check(
        gate=name,
        kind="bound",
        status="passed" if is_met else "failed",
        reason=reason + ".",
        metric=gate.metric,
        value=value,
        bound=limit,
        champion_value=champion,
        low=low,
        high=high,
        confidence=confidence,
    )


def describe_bound(gate: BoundGate) -> str:
    """`0.8 <= roc_auc <= 1`, with the sides that were asked for."""
    low = f"{number(gate.min)} <= " if gate.min is not None and gate.max is not None else ""
    if gate.max is not None:
        return f"{low}{gate.metric} <= {number(gate.max)}"
    return f"{gate.metric} >= {number(gate.min)}"


def _decide(gate: BoundGate, value: float) -> tuple[float, bool, str]:
    if gate.min is not None and value < gate.min:
        return gate.min, False, f"below the least allowed {number(gate.min)}"
    if gate.max is not None and value > gate.max:
        return gate.max, False, f"above the most allowed {number(gate.max)}"
    limit = gate.min if gate.min is not None else gate.max
    assert limit is not None
    sides = " and ".join(
        f"{side} {number(bound)}"
        for side, bound in (("at least", gate.min), ("at most", gate.max))
        if bound is not None
    )
    return limit, True, sides
