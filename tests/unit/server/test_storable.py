"""What cannot be stored is refused in the same words, whichever database there is and whichever way it comes."""

import json
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.errors import InvalidInput
from lockgate.server.local import LocalTransport

MLFLOW = "/api/2.0/mlflow"


def post(asked: Any, path: str, body: str) -> tuple[int, Any]:
    status, answer, _ = asked.ask("POST", f"{MLFLOW}/{path}", body.encode(), {"Content-Type": "application/json"})
    return status, answer


@pytest.mark.parametrize("text", [r"a\u0000b", r"\\\u0000", r"\ud800", r"a\\\\\u0000"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("experiments/create", '{"name": "%s"}'),
        ("registered-models/create", '{"name": "m", "description": "%s"}'),
        ("registered-models/create", '{"name": "m", "tags": [{"key": "k", "value": "%s"}]}'),
        ("runs/create", '{"experiment_id": "0", "run_name": "%s"}'),
        ("experiments/search", '{"max_results": 5, "filter": "name = \'%s\'"}'),
        ("runs/search", '{"experiment_ids": ["0"], "filter": "tags.a = \'%s\'"}'),
    ],
)
def test_text_that_postgresql_cannot_keep_is_refused(asked: Any, path: str, body: str, text: str) -> None:
    status, answer = post(asked, path, body % text)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "NUL" in answer["message"] or "Unicode" in answer["message"] or "JSON" in answer["message"]


def test_half_of_a_surrogate_pair_in_the_place_of_something_else_is_refused(asked: Any) -> None:
    headers = {"Content-Type": "application/json"}
    for path, body in (
        (f"{MLFLOW}/runs/create", rb'{"experiment_id": "0", "start_time": "\ud800"}'),
        ("/api/lockgate/1/registry/create-release", rb'{"release": "\ud800"}'),
    ):
        status, answer, _ = asked.ask("POST", path, body, headers)
        assert (status, answer["message"]) == (400, "the request has a text that is not valid Unicode.")


def test_nul_in_a_query_is_refused(asked: Any) -> None:
    for path in (
        "experiments/get-by-name?experiment_name=a%00b",
        "registered-models/get?name=%00",
        "runs/get?run_id=%00",
    ):
        status, answer, _ = asked.ask("GET", f"{MLFLOW}/{path}")
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), path


@pytest.mark.parametrize("text", [r"\\u0000", "\\\\\\\\u0000", "\U0001f600", "é"])
def test_text_that_only_looks_like_it_is_kept(asked: Any, text: str) -> None:
    name = json.loads(f'"{text}"')
    status, created = post(asked, "experiments/create", json.dumps({"name": name}))
    assert status == 200
    _, found, _ = asked.ask("GET", f"{MLFLOW}/experiments/get?experiment_id={created['experiment_id']}")
    assert found["experiment"]["name"] == name


def test_nul_is_refused_without_a_server_too(asked: Any) -> None:
    client = Client(LocalTransport(asked.context), FakeClock())
    client.registry.ensure_model("m")
    with pytest.raises(InvalidInput, match="NUL"):
        client.registry.set_model_description("m", "a\0b")
    with pytest.raises(InvalidInput, match="Unicode"):
        client.registry.set_model_description("m", "\ud800")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
@pytest.mark.parametrize("field", ["step", "timestamp"])
def test_number_beyond_64_bits_is_refused(asked: Any, field: str, number: int) -> None:
    _, created = post(asked, "runs/create", '{"experiment_id": "0"}')
    run_id = created["run"]["info"]["run_id"]
    metric = {"run_id": run_id, "key": "m", "value": 1.0, "timestamp": 1, "step": 1, field: number}
    status, answer = post(asked, "runs/log-metric", json.dumps(metric))
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_values_that_are_no_finite_numbers_come_back_as_they_were(asked: Any) -> None:
    _, created = post(asked, "runs/create", '{"experiment_id": "0"}')
    run_id = created["run"]["info"]["run_id"]
    values = ["NaN", "Infinity", "-Infinity", 5e-324, 1.7976931348623157e308, -0.0, 0.1]
    for step, value in enumerate(values):
        metric = {"run_id": run_id, "key": "m", "value": value, "timestamp": 1, "step": step}
        assert post(asked, "runs/log-metric", json.dumps(metric)) == (200, {})
    _, found, _ = asked.ask("GET", f"{MLFLOW}/metrics/get-history?run_id={run_id}&metric_key=m")
    assert [metric["value"] for metric in found["metrics"]] == values
