"""The API's own metrics, in Prometheus' text format."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Measured:
    """What is not known before a request is over."""

    __slots__ = ("operation", "status")

    def __init__(self) -> None:
        self.operation = "other"
        self.status = 200


class Meter:
    """Counts and times requests by operation."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "lockgate_api_requests",
            "Requests by operation and status.",
            ["operation", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "lockgate_api_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ["operation"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        # Finding them by their labels takes longer than counting.
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    @contextmanager
    def request(self) -> Iterator[Measured]:
        measured = Measured()
        start = time.perf_counter()  # a duration for a metric: nothing decides on it
        try:
            yield measured
        finally:
            seconds = time.perf_counter() - start
            known = self._known.get((measured.operation, measured.status))
            count, duration = known or self._find(measured.operation, measured.status)
            count.inc()
            duration.observe(seconds)

    def _find(self, operation: str, status: int) -> tuple[Counter, Histogram]:
        found = self._requests.labels(operation, status), self._seconds.labels(operation)
        self._known[operation, status] = found
        return found

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
