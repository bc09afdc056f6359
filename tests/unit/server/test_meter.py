import re

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from lockgate.server.meter import Meter

SECONDS = (0.0, 0.0004, 0.0005, 0.00051, 0.0999, 0.1, 10.0, 10.1, 600.0)


def lines(exposition: bytes, name: str) -> list[str]:
    return re.findall(rf"^({name}_(?:bucket|count|sum){{.*)$", exposition.decode(), re.MULTILINE)


def test_times_are_told_as_the_clients_own_histogram_tells_them() -> None:
    meter, registry = Meter(), CollectorRegistry()
    bounds = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    theirs = Histogram("lockgate_api_request_seconds", "x", ["operation"], buckets=bounds, registry=registry)
    for operation in ("a", "b"):
        for seconds in SECONDS:
            meter.add(operation, 200, seconds)
            theirs.labels(operation).observe(seconds)
    told = lines(meter.exposition(), "lockgate_api_request_seconds")
    assert sorted(told) == sorted(lines(generate_latest(registry), "lockgate_api_request_seconds"))
    assert len(told) == 2 * (len(bounds) + 1 + 2)


def test_requests_are_counted_by_operation_and_status() -> None:
    meter = Meter()
    for operation, status in (("a", 200), ("a", 404), ("b", 200), ("a", 200)):
        meter.add(operation, status, 0.1)
    counted = re.findall(r"^lockgate_api_requests_total{(.*)} (.*)$", meter.exposition().decode(), re.MULTILINE)
    assert dict(counted) == {
        'operation="a",status="200"': "2.0",
        'operation="a",status="404"': "1.0",
        'operation="b",status="200"': "1.0",
    }


def test_one_that_was_never_asked_tells_of_no_operation() -> None:
    assert "operation=" not in Meter().exposition().decode()
