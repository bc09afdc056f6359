"""`{latency_ms_p99: 20, size_mb: 50}`: what the loaded model costs for one row, and on disk."""

from collections.abc import Sequence

import numpy as np

from lockgate.clock import Clock
from lockgate.entities import Check
from lockgate.gates.evaluate import Answering
from lockgate.gates.words import count, number
from lockgate.models.signature import Columns
from lockgate.models.threads import one_thread
from lockgate.project import BudgetGate

_WARM_UP_CALLS = 30
_CALLS = 1000
_LONGEST_S = 3.0
_FEWEST_CALLS = 100  # so that a 99th percentile is more than the slowest call


def check_budget(gate: BudgetGate, *, size_bytes: int, latencies_ms: Sequence[float] | None) -> list[Check]:
    """One check for each limit. `latencies_ms` come from `measure_latency`; None where there were no rows for it."""
    checks = []
    if gate.size_mb is not None:
        size = size_bytes / 1e6
        checks.append(_check("size_mb", size, gate.size_mb, "the model directory takes", "MB", {}))
    for percentile, limit in ((50, gate.latency_ms_p50), (99, gate.latency_ms_p99)):
        if limit is None:
            continue
        name = f"latency_ms_p{percentile}"
        if not latencies_ms:
            reason = "there is no row to measure on: add `evaluate: {data: ..., label: ...}` with rows."
            checks.append(Check(gate=f"{name} <= {number(limit)}", kind="budget", status="failed", reason=reason))
            continue
        value = float(np.percentile(latencies_ms, percentile))
        words = f"{percentile} % of {count(len(latencies_ms), 'single-row call')} took at most"
        checks.append(_check(name, value, limit, words, "ms", {"calls": len(latencies_ms)}))
    return checks


def measure_latency(model: Answering, columns: Columns, *, clock: Clock) -> list[float]:
    """Milliseconds of single-row predictions on rows in turn, after a warm-up, for three seconds at most.

    The model runs in one thread, as it does in a replica.
    """
    rows = len(next(iter(columns.values()))) if columns else 0
    if rows == 0:
        return []
    singles = [{name: values[i : i + 1] for name, values in columns.items()} for i in range(min(rows, 100))]
    with one_thread():
        for i in range(_WARM_UP_CALLS):
            model.predict(singles[i % len(singles)])
        taken: list[float] = []
        deadline = clock.monotonic() + _LONGEST_S
        for i in range(_CALLS):
            start = clock.monotonic()
            model.predict(singles[i % len(singles)])
            end = clock.monotonic()
            taken.append((end - start) * 1000)
            if end > deadline and len(taken) >= _FEWEST_CALLS:
                break
    return taken


def _check(name: str, value: float, limit: float, words: str, unit: str, details: dict[str, int]) -> Check:
    is_met = value <= limit
    return Check(
        gate=f"{name} <= {number(limit)}",
        kind="budget",
        status="passed" if is_met else "failed",
        reason=f"{words} {number(value)} {unit}; the budget is {number(limit)} {unit}.",
        metric=name,
        value=value,
        bound=limit,
        details={**details},
    )
