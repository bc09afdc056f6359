"""The API's own metrics, in Prometheus' text format."""

import time

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

# Where the scope of a request that a router has found holds its `Measured`.
MEASURED = "lockgate.measured"

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Measured:
    """One request, counted and timed when it is over; what it was is told in between."""

    __slots__ = ("_meter", "_start", "operation", "status")

    def __init__(self, meter: "Meter") -> None:
        self._meter = meter
        self.operation = "other"
        self.status = 200

    def __enter__(self) -> "Measured":
        self._start = time.perf_counter()  # a duration for a metric: nothing decides on it
        return self

    def __exit__(self, *error: object) -> None:
        self._meter.add(self.operation, self.status, time.perf_counter() - self._start)


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

    def request(self) -> Measured:
        return Measured(self)

    def add(self, operation: str, status: int, seconds: float) -> None:
        """One request more."""
        count, duration = self._known.get((operation, status)) or self._find(operation, status)
        count.inc()
        duration.observe(seconds)

    def _find(self, operation: str, status: int) -> tuple[Counter, Histogram]:
        found = self._requests.labels(operation, status), self._seconds.labels(operation)
        self._known[operation, status] = found
        return found

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
