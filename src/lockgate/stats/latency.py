"""Is the canary slower than the stable version? An e-process on two latency histograms, valid at every look.

At one threshold, 'slower than this' is an event like an error, and `error_rate` says how much more often it falls on
the canary than its share of requests explains. A histogram with fixed edges gives that event at every edge; the mean
of the e-values of some edges is an e-value again, whatever their dependence (Vovk and Wang 2021, E-values: calibration,
combination and applications, Ann. Statist. 49(3)).

What it needs: random assignment with a constant share; both histograms with the same edges, over the same period; edges
and `thresholds` fixed before the data that they test. `choose_thresholds` takes them from a warm-up (the stable
version's histogram before the canary got its first request), never from the counts under test.

A difference of some microseconds is found as surely as one of seconds and matters to nobody, so a `tolerance` moves
the null hypothesis: the canary is at most that many times slower. Then its requests above an edge are held against the
stable version's above the largest edge that lies `tolerance` times lower. Rounding down to an edge makes it milder.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from lockgate.errors import InvalidInput
from lockgate.stats.error_rate import log_share_e_value

_WARM_UP_QUANTILES = (0.50, 0.75, 0.90, 0.95, 0.99)


def latency_e_value(
    *,
    canary_counts: Sequence[int],
    stable_counts: Sequence[int],
    canary_share: float,
    thresholds: Sequence[int] | None = None,
    edges: Sequence[float] = (),
    tolerance: float = 1.0,
) -> float:
    """Evidence that the canary's requests are more than `tolerance` times slower: roll back when it reaches 1/alpha.

    `counts[i]` are requests in bin i of ascending latency; `edges[i]` is its upper edge, needed for a tolerance above
    1. `thresholds` are indices of edges; by default all are tested, which is valid without any warm-up and loses a
    factor of at most their number in evidence.

        >>> slower = latency_e_value(canary_counts=[10, 60, 30], stable_counts=[600, 350, 50], canary_share=0.1)
        >>> slower > 1e6
        True
        >>> latency_e_value(canary_counts=[60, 35, 5], stable_counts=[600, 350, 50], canary_share=0.1) < 1.0
        True
        >>> latency_e_value(canary_counts=[10, 60, 30, 0], stable_counts=[600, 350, 50, 0], canary_share=0.1,
        ...     edges=[1.0, 2.0, 4.0], tolerance=2.0) < 1.0
        True
    """
    if len(canary_counts) != len(stable_counts) or len(canary_counts) < 2:
        raise InvalidInput(
            f"latency histograms need equal edges and two bins or more, not {len(canary_counts)} and "
            f"{len(stable_counts)} bins."
        )
    chosen = range(len(canary_counts) - 1) if thresholds is None else thresholds
    if len(chosen) == 0:
        raise InvalidInput("no latency threshold to test.")
    if tolerance > 1.0 and len(edges) != len(canary_counts) - 1:
        raise InvalidInput(f"a tolerance needs the {len(canary_counts) - 1} edges between the bins, not {len(edges)}.")
    canary_slower, stable_slower = _at_least(canary_counts), _at_least(stable_counts)
    held_against = [i + 1 if tolerance <= 1.0 else bisect_right(edges, edges[i] / tolerance) for i in chosen]
    logs = [
        log_share_e_value(canary_slower[i + 1], stable_slower[j], canary_share)
        for i, j in zip(chosen, held_against, strict=True)
    ]
    peak = max(logs)
    if peak == -math.inf:
        return 0.0
    log_mean = peak + math.log(sum(math.exp(value - peak) for value in logs) / len(logs))
    return math.exp(log_mean) if log_mean < 709.0 else math.inf


def choose_thresholds(warm_up_counts: Sequence[int]) -> tuple[int, ...]:
    """The edges next to the median and the 75th, 90th, 95th and 99th percentile of a warm-up's histogram, each once.

    Empty where the warm-up has no requests: then test all edges.

        >>> choose_thresholds([50, 25, 15, 5, 4, 1])
        (0, 1, 2, 3, 4)
    """
    total = sum(warm_up_counts)
    if total == 0 or len(warm_up_counts) < 2:
        return ()
    cumulated = list(accumulate(warm_up_counts))
    at = (bisect_left(cumulated, quantile * total) for quantile in _WARM_UP_QUANTILES)
    return tuple(sorted({min(i, len(warm_up_counts) - 2) for i in at}))


def _at_least(counts: Sequence[int]) -> list[int]:
    """Requests in bin i or a slower one. Plain Python: whoever drives a rollout loads no numerical library."""
    return list(accumulate(reversed(counts)))[::-1]
