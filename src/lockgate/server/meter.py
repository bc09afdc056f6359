"""The API's own metrics, in Prometheus' text format."""

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

CONTENT_TYPE = CONTENT_TYPE_LATEST

# Where the scope of a request that a router has found holds its `Measured`.
MEASURED = "lockgate.measured"

_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS = (*map(str, _BUCKETS_S), "+Inf")


class Measured:
    """One request, counted and timed when it is over; what it was is told in between."""

    __slots__ = ("_meter", "_start", "is_answered", "operation", "status")

    def __init__(self, meter: "Meter") -> None:
        self._meter = meter
        self.operation = "other"
        self.status = 200
        self.is_answered = False  # whether the beginning of an answer is out

    def __enter__(self) -> "Measured":
        self._start = time.perf_counter()  # a duration for a metric: nothing decides on it
        return self

    def __exit__(self, *error: object) -> None:
        self._meter.add(self.operation, self.status, time.perf_counter() - self._start)


class Meter:
    """Counts and times requests by operation.

    One thread adds, so there is no need for the locks of prometheus_client's own counters, which cost more than to
    count.
    """

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._times: dict[str, _Times] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def request(self) -> Measured:
        return Measured(self)

    def add(self, operation: str, status: int, seconds: float) -> None:
        """One request more."""
        kind = operation, status
        self._requests[kind] = self._requests.get(kind, 0) + 1
        times = self._times.get(operation)
        if times is None:
            times = self._times[operation] = _Times()
        times.counts[bisect_left(_BUCKETS_S, seconds)] += 1
        times.sum += seconds

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks of a collector."""
        requests = CounterMetricFamily(
            "lockgate_api_requests", "Requests by operation and status.", labels=["operation", "status"]
        )
        for (operation, status), count in list(self._requests.items()):
            requests.add_metric([operation, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "lockgate_api_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            labels=["operation"],
        )
        for operation, times in list(self._times.items()):
            seconds.add_metric([operation], list(zip(_BOUNDS, accumulate(times.counts), strict=True)), times.sum)
        yield seconds

    def exposition(self) -> bytes:
        return generate_latest(self._registry)


class _Times:
    """Of one operation: how many requests in each bucket, and their sum in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.sum = 0.0
