"""What a replica counts for one version."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from lockgate.entities import VersionCounters

# Fine enough that a canary's median and tail fall on an edge near them; one fixed set, so that replicas can be added.
LATENCY_MS_EDGES: tuple[float, ...] = (
    *(0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0),
    *(100.0, 150.0, 200.0, 300.0, 500.0, 700.0, 1000.0, 2000.0, 5000.0, 10000.0),
)
BATCH_EDGES: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)

assert all(low < high for low, high in pairwise(LATENCY_MS_EDGES))


class Counters:
    """Counts that only grow. `since` subtracts an earlier look."""

    __slots__ = ("errors", "latency_ms_counts", "latency_ms_sum", "refused", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.refused = 0  # whose input the version does not take; in no other count
        self.latency_ms_counts = [0] * (len(LATENCY_MS_EDGES) + 1)
        self.latency_ms_sum = 0.0

    def count(self, latencies_ms: Sequence[float], *, failed: bool) -> None:
        """Requests that were answered together."""
        self.requests += len(latencies_ms)
        self.errors += failed * len(latencies_ms)
        self.latency_ms_sum += sum(latencies_ms)
        counts = self.latency_ms_counts
        for latency_ms in latencies_ms:
            counts[bisect_left(LATENCY_MS_EDGES, latency_ms)] += 1

    def snapshot(self, version: int) -> VersionCounters:
        return VersionCounters(
            version=version,
            requests=self.requests,
            errors=self.errors,
            refused=self.refused,
            latency_ms_edges=LATENCY_MS_EDGES,
            latency_ms_counts=tuple(self.latency_ms_counts),
        )


class BatchCounters:
    """How many rows each call of the model answered."""

    __slots__ = ("counts", "rows")

    def __init__(self) -> None:
        self.counts = [0] * (len(BATCH_EDGES) + 1)
        self.rows = 0

    def count(self, rows: int) -> None:
        self.counts[bisect_left(BATCH_EDGES, rows)] += 1
        self.rows += rows


def since(now: VersionCounters, before: VersionCounters) -> VersionCounters:
    """What was counted between two snapshots."""
    counts = zip(now.latency_ms_counts, before.latency_ms_counts, strict=True)
    return VersionCounters(
        version=now.version,
        requests=now.requests - before.requests,
        errors=now.errors - before.errors,
        refused=now.refused - before.refused,
        latency_ms_edges=now.latency_ms_edges,
        latency_ms_counts=tuple(late - early for late, early in counts),
    )
