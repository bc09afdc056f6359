"""What strategies that watch a version have in common: its counts, the test on outright failure, and when time is up.

**Failure.** Does the version fail most of its requests, whatever the one before it does or did? With S errors in n
requests, E = 1.9^S * 0.1^(n-S), the likelihood ratio of an error rate of .95 against .5. It is an e-value for every
version that fails at most half of its requests, so such a version has no more than its share of the false rollback rate
to be caught by it.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from lockgate.delivery.rollout import Decision, Situation
from lockgate.entities import Rollout, Scalar, VersionCounters

FAILING_RATE = 0.95
TOLERATED_RATE = 0.5


class Counts(NamedTuple):
    """One version's counts over all replicas since its traffic began."""

    requests: int
    errors: int
    refused: int
    latency_ms_edges: tuple[float, ...]
    latency_ms_counts: tuple[int, ...]


def count(situation: Situation, version: int | None) -> Counts:
    """What all replicas counted for `version` under the present traffic; a replica that is gone keeps its word."""
    revision = situation.traffic.revision if situation.traffic else 0
    found: list[VersionCounters] = [
        counters
        for seen in situation.observations
        if seen.revision == revision
        for counters in seen.counters
        if counters.version == version
    ]
    edges = next((counters.latency_ms_edges for counters in found if counters.latency_ms_edges), ())
    binned = [counters.latency_ms_counts for counters in found if counters.latency_ms_edges == edges]
    return Counts(
        requests=sum(counters.requests for counters in found),
        errors=sum(counters.errors for counters in found),
        refused=sum(counters.refused for counters in found),
        latency_ms_edges=edges,
        latency_ms_counts=tuple(map(sum, zip(*binned, strict=True))),
    )


def failure_e_value(requests: int, errors: int) -> float:
    """Evidence that more than half of all requests fail; see the head of this file.

    >>> failure_e_value(0, 0), round(failure_e_value(11, 11))
    (1.0, 1165)
    """
    log_e = errors * math.log(FAILING_RATE / TOLERATED_RATE) + (requests - errors) * math.log(
        (1 - FAILING_RATE) / (1 - TOLERATED_RATE)
    )
    return math.exp(min(log_e, 700.0))


def still_baking(rollout: Rollout, counts: Counts, *, now: int, evidence: Mapping[str, Scalar]) -> Decision | None:
    """Stay, and what for; None once the version was watched for its time and has answered `min_requests`."""
    baked_s = (now - rollout.updated_at) / 1000
    refused = f"; {counts.refused} more were refused: their input is not what the version takes"
    if not counts.requests and not counts.refused and rollout.min_requests:
        reason = f"no traffic at all yet; {rollout.min_requests} requests are needed."
    elif baked_s < rollout.bake_s:
        reason = f"baked {baked_s:.0f} of {rollout.bake_s:.0f} s."
    elif counts.requests < rollout.min_requests:
        reason = f"{counts.requests} of {rollout.min_requests} requests seen{refused if counts.refused else ''}."
    else:
        return None
    return Decision("baking", rollout.step, reason, evidence)
