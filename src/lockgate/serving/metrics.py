"""`GET /metrics`: what the replica counted, in Prometheus' text format. Nothing is computed before it is asked for."""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from lockgate.errors import InvalidInput
from lockgate.serving.counters import BATCH_EDGES, LATENCY_MS_EDGES
from lockgate.serving.router import Router
from lockgate.serving.version import Totals

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Facts:
    """Everything that is counted outside of versions."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.refused: dict[int, int] = {}  # requests that no version was asked about, by HTTP status
        self.feedback = 0


def exposition(router: Router, totals: Sequence[Totals], facts: Facts, log_errors: int) -> bytes:
    """The page."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(router, totals, facts, log_errors))
    return generate_latest(registry)


class _Page:
    def __init__(self, router: Router, totals: Sequence[Totals], facts: Facts, log_errors: int) -> None:
        self._router = router
        self._totals = totals
        self._facts = facts
        self._log_errors = log_errors

    def collect(self) -> Iterator[Metric]:
        labels = ["model", "environment", "version"]
        requests = CounterMetricFamily("lockgate_requests", "Answered inference requests.", labels=labels)
        errors = CounterMetricFamily("lockgate_errors", "Requests that the model failed on.", labels=labels)
        latency = HistogramMetricFamily(
            "lockgate_request_latency_seconds", "From the read request to its answer.", labels=labels
        )
        batches = HistogramMetricFamily("lockgate_batch_rows", "Rows that a model call answered.", labels=labels)
        refused = CounterMetricFamily(
            "lockgate_refused",
            "Requests answered with an error status, by the version that does not take them or by none.",
            labels=["status", *labels],
        )
        for version in self._totals:
            values = [version.model_name, version.environment, str(version.version)]
            one, other = version.routed, version.named
            requests.add_metric(values, one.requests + other.requests)
            errors.add_metric(values, one.errors + other.errors)
            if count := one.refused + other.refused:
                refused.add_metric([str(InvalidInput.http_status), *values], count)
            edges = [str(edge / 1000) for edge in LATENCY_MS_EDGES]
            counts = [sum(pair) for pair in zip(one.latency_ms_counts, other.latency_ms_counts, strict=True)]
            latency.add_metric(values, _buckets(edges, counts), (one.latency_ms_sum + other.latency_ms_sum) / 1000)
            batches.add_metric(
                values,
                _buckets([str(float(edge)) for edge in BATCH_EDGES], version.batches.counts),
                version.batches.rows,
            )
        yield from (requests, errors, latency, batches)
        for status, count in sorted(self._facts.refused.items()):
            refused.add_metric([str(status)], count)
        yield refused
        shares = GaugeMetricFamily("lockgate_traffic_share", "Share of requests that a version gets.", labels=labels)
        traffic = self._router.traffic
        for share in traffic.shares if traffic else ():
            shares.add_metric([traffic.model, traffic.environment, str(share.version)], share.share)  # type: ignore[union-attr]  # traffic is set where it has shares
        yield shares
        yield GaugeMetricFamily(
            "lockgate_traffic_revision", "Served revision.", value=traffic.revision if traffic else 0
        )
        yield GaugeMetricFamily("lockgate_requests_in_flight", "Requests being answered.", value=self._facts.in_flight)
        yield CounterMetricFamily("lockgate_feedback", "Labels received.", value=self._facts.feedback)
        yield CounterMetricFamily(
            "lockgate_prediction_log_errors", "Rows whose log line could not be written.", value=self._log_errors
        )


def _buckets(edges: list[str], counts: list[int]) -> list[tuple[str, float]]:
    """Prometheus counts what is at most an edge, so its buckets add up."""
    total = 0
    buckets: list[tuple[str, float]] = []
    for edge, count in zip([*edges, "+Inf"], counts, strict=True):
        total += count
        buckets.append((edge, float(total)))
    return buckets
