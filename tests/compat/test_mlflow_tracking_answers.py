"""Tracking requests and the answers that MLflow 3.17's own server gives to them, written down from it.

Where Lockgate answers otherwise on purpose, `DELIBERATE` says why.
"""

import http.client
import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

BAD, MISSING, TAKEN = (
    (400, "INVALID_PARAMETER_VALUE"),
    (404, "RESOURCE_DOES_NOT_EXIST"),
    (400, "RESOURCE_ALREADY_EXISTS"),
)
OK = (200, "")

Body = dict[str, Any]
Ask = Callable[[str, str, Body], tuple[int, Any]]
names = (f"experiment-{number}" for number in count())


@pytest.fixture
def ask(url: str) -> Iterator[Ask]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)

    def send(method: str, path: str, body: Body) -> tuple[int, Any]:
        target = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        if method in ("GET", "DELETE"):
            connection.request(method, f"{target}?{urlencode(body, doseq=True)}")
        else:
            headers = {"Content-Type": "application/json"}
            connection.request(method, target, body=json.dumps(body).encode(), headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    yield send
    connection.close()


@pytest.fixture
def experiment(ask: Ask) -> str:
    return str(ask("POST", "experiments/create", {"name": next(names)})[1]["experiment_id"])


@pytest.fixture
def run(ask: Ask, experiment: str) -> str:
    answer = ask("POST", "runs/create", {"experiment_id": experiment, "start_time": 1000, "run_name": "one"})
    return str(answer[1]["run"]["info"]["run_id"])


def verdict(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1].get("error_code", "")


def filled(value: Any, **ids: str) -> Any:
    """`<run>` and the like replaced by the ids."""
    if isinstance(value, str):
        for name, found in ids.items():
            value = value.replace(f"<{name}>", found)
        return value
    if isinstance(value, dict):
        return {key: filled(item, **ids) for key, item in value.items()}
    return [filled(item, **ids) for item in value] if isinstance(value, list) else value


METRIC = {"key": "m", "value": 1.0, "timestamp": 1, "step": 0}
DATASET = {"name": "d", "digest": "1", "source_type": "local", "source": "{}"}
RUN, OF = {"run_id": "<run>"}, {"experiment_id": "<experiment>"}


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("experiments/create", {}, BAD),
        ("experiments/create", {"name": ""}, BAD),
        ("experiments/create", {"name": 5}, BAD),
        ("experiments/create", {"name": "x" * 501}, BAD),
        ("experiments/create", {"name": "Default"}, TAKEN),
        ("experiments/create", {"name": "runs", "artifact_location": "runs:/a/b"}, BAD),
        ("experiments/create", {"name": "tags", "tags": [{"key": "k" * 251, "value": "v"}]}, BAD),
        ("experiments/create", {"name": "tags", "tags": [{"key": "k", "value": "v" * 20_001}]}, BAD),
        ("experiments/create", {"name": "tags", "tags": [{"key": "k", "value": "v" * 20_000}]}, OK),
        ("experiments/create", {"name": "500" + "x" * 497}, OK),
        ("experiments/create", {"name": "asks", "artifact_location": "s3://b/p?region=eu"}, OK),
        ("experiments/create", {"name": "fragment", "artifact_location": "s3://b/p#f"}, BAD),
        ("experiments/update", OF, BAD),
        ("experiments/update", {**OF, "new_name": ""}, BAD),
        ("experiments/update", {"experiment_id": "99999", "new_name": "x"}, MISSING),
        ("experiments/set-experiment-tag", {**OF, "key": "a"}, OK),
        ("experiments/set-experiment-tag", {**OF, "key": "../a", "value": "v"}, BAD),
        ("experiments/set-experiment-tag", {"experiment_id": "x", "key": "a", "value": "v"}, BAD),
        ("experiments/delete-experiment-tag", {**OF, "key": "none"}, MISSING),
        ("experiments/delete-experiment-tag", OF, BAD),
        ("experiments/delete-experiment-tag", {**OF, "key": ""}, BAD),
        ("experiments/delete-experiment-tag", {"experiment_id": "99999", "key": "a"}, MISSING),
        ("experiments/delete-experiment-tag", {"experiment_id": "x", "key": "a"}, BAD),
        ("experiments/delete", {"experiment_id": "99999"}, MISSING),
        ("experiments/restore", OF, MISSING),
        ("experiments/search", {"max_results": 0}, BAD),
        ("experiments/search", {"max_results": 50_001}, BAD),
        ("experiments/search", {"max_results": 1, "page_token": "zzz"}, BAD),
        ("experiments/search", {"max_results": 1, "filter": "metrics.a > 1"}, BAD),
        ("experiments/search", {"max_results": 1, "filter": "experiment_id > '0'"}, BAD),
        ("experiments/search", {"max_results": 1, "order_by": ["tags.a"]}, BAD),
        ("runs/create", {"experiment_id": "99999"}, MISSING),
        ("runs/create", {**OF, "start_time": "x"}, BAD),
        ("runs/create", {**OF, "run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}, BAD),
        ("runs/create", {**OF, "tags": [{"key": "a!b@c (d)", "value": "b"}]}, OK),
        ("runs/create", {"experimentId": "<experiment>", "experiment_id": "<experiment>"}, BAD),
        ("runs/update", {"run_id": "nope"}, MISSING),
        ("runs/update", {**RUN, "end_time": "x"}, BAD),
        ("runs/set-tag", {**RUN, "key": "a b:c"}, OK),
        ("runs/set-tag", {**RUN, "key": "k" * 251, "value": "v"}, BAD),
        ("runs/set-tag", {**RUN, "key": "a//b", "value": "v"}, BAD),
        ("runs/set-tag", {**RUN, "key": "", "value": "v"}, BAD),
        ("runs/set-tag", {"run_id": "nope", "key": "a", "value": "v"}, MISSING),
        ("runs/delete-tag", {**RUN, "key": "none"}, MISSING),
        ("runs/delete-tag", {**RUN, "key": ""}, BAD),
        ("runs/log-parameter", {**RUN, "key": "p"}, OK),
        ("runs/log-parameter", {**RUN, "key": "p", "value": 5}, BAD),
        ("runs/log-parameter", {**RUN, "key": "a\\b", "value": "5"}, BAD),
        ("runs/log-metric", {**RUN, **METRIC}, OK),
        ("runs/log-metric", {**RUN, **METRIC, "value": "abc"}, BAD),
        ("runs/log-metric", {**RUN, **METRIC, "value": None}, BAD),
        ("runs/log-metric", {**RUN, **METRIC, "timestamp": -1}, BAD),
        ("runs/log-metric", {**RUN, **METRIC, "step": -3}, OK),
        ("runs/log-metric", {**RUN, "key": "m", "value": 1}, BAD),
        ("runs/log-metric", {**RUN, **METRIC, "dataset_name": "d"}, BAD),
        ("runs/log-metric", {**RUN, **METRIC, "dataset_name": "d", "dataset_digest": ""}, BAD),
        ("runs/log-metric", {**RUN, **METRIC, "dataset_name": "", "dataset_digest": ""}, OK),
        ("runs/log-batch", {**RUN, "metrics": [{**METRIC, "dataset_digest": "1"}]}, BAD),
        ("runs/log-batch", {"run_id": "?", "metrics": [METRIC]}, BAD),
        ("runs/log-batch", {"run_id": "nope", "metrics": [METRIC]}, MISSING),
        ("runs/log-batch", RUN, OK),
        ("runs/log-batch", {**RUN, "metrics": [{**METRIC, "timestamp": i} for i in range(1000)]}, OK),
        ("runs/log-batch", {**RUN, "metrics": [{**METRIC, "timestamp": i} for i in range(1001)]}, BAD),
        ("runs/log-batch", {**RUN, "params": [{"key": f"p{i}", "value": "1"} for i in range(101)]}, BAD),
        ("runs/log-batch", {**RUN, "params": [{"key": "d", "value": "1"}] * 2}, BAD),
        ("runs/log-batch", {**RUN, "tags": [{"key": "d", "value": "1"}, {"key": "d", "value": "2"}]}, OK),
        ("runs/log-batch", {**RUN, "metrics": [{"key": "a", "timestamp": 1}]}, BAD),
        ("runs/log-batch", {**RUN, "tags": [{"value": "1"}]}, BAD),
        ("runs/log-inputs", RUN, OK),
        ("runs/log-inputs", {**RUN, "datasets": [{"dataset": {**DATASET, "name": "n" * 501}}]}, BAD),
        ("runs/log-inputs", {**RUN, "datasets": [{"dataset": {**DATASET, "digest": "g" * 36}}]}, OK),
        ("runs/log-inputs", {**RUN, "datasets": [{"dataset": {**DATASET, "digest": "g" * 37}}]}, BAD),
        ("runs/log-inputs", {**RUN, "datasets": [{"dataset": {**DATASET, "source": "x" * 65_536}}]}, BAD),
        (
            "runs/log-inputs",
            {**RUN, "datasets": [{"dataset": DATASET, "tags": [{"key": "k" * 256, "value": ""}]}]},
            BAD,
        ),
        ("runs/outputs", RUN, BAD),
        ("runs/outputs", {**RUN, "models": [{"model_id": "m-1", "step": 3}]}, OK),
        ("runs/log-model", {**RUN, "model_json": "{"}, BAD),
        ("runs/log-model", {**RUN, "model_json": "{}"}, BAD),
        ("runs/search", {"max_results": 0}, BAD),
        ("runs/search", {"max_results": 50_001}, BAD),
        ("runs/search", {"experiment_ids": ["x"]}, BAD),
        ("runs/search", {"order_by": ["foo"]}, BAD),
        ("runs/search", {"filter": "attributes.lifecycle_stage = 'active'"}, BAD),
        ("runs/search", {}, OK),
        ("runs/search", {"filter": "attributes.run_id IN ('<run>',)"}, OK),
        ("runs/search", {"filter": "attributes.run_id IN ()"}, BAD),
        ("runs/search", {"filter": "attributes.run_id IN (,)"}, BAD),
        ("/ajax-api/2.0/mlflow/experiments/search-datasets", {}, BAD),
        ("/ajax-api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": ["0"] * 21}, BAD),
        ("logged-models", {}, BAD),
        ("logged-models", {"experiment_id": "99999"}, MISSING),
        ("logged-models", {**OF, "name": "a/b"}, BAD),
        ("logged-models", {**OF, "tags": [{"key": "a!", "value": "1"}], "params": [{"key": "b%", "value": "1"}]}, OK),
        ("logged-models/search", {"experiment_ids": ["0"], "datasets": [{"dataset_name": ""}]}, BAD),
        ("logged-models/search", {"experiment_ids": ["-1"]}, OK),
        ("logged-models/search", {"experiment_ids": ["0"], "max_results": 200_000}, OK),
        ("logged-models/search", {"experiment_ids": ["0"], "filter": "metrics.name = 0.5"}, OK),
        ("logged-models/search", {"experiment_ids": ["0"], "filter": "params.lr = 1e-3 OR tags.depth != 3.10"}, OK),
        ("runs/search", {"experiment_ids": ["-1"]}, OK),
        ("experiments/delete", {"experiment_id": "-1"}, MISSING),
        ("logged-models/m-nope/params", {"model_id": "m-nope", "params": [{"key": "p", "value": "1"}]}, MISSING),
        ("logged-models/search", {}, BAD),
        ("logged-models/search", {"experiment_ids": ["0"], "filter": "name > 'a'"}, BAD),
        ("logged-models/search", {"experiment_ids": ["0"], "order_by": [{"field_name": "params.a"}]}, BAD),
    ],
)
def test_answer_is_mlflows(
    ask: Ask, experiment: str, run: str, path: str, body: Body, expected: tuple[int, str]
) -> None:
    assert verdict(ask("POST", path, filled(body, run=run, experiment=experiment))) == expected


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("experiments/get", {}, BAD),
        ("experiments/get", {"experiment_id": "abc"}, BAD),
        ("experiments/get", {"experiment_id": "99999"}, MISSING),
        ("experiments/get", {"experiment_id": "-1"}, MISSING),
        ("experiments/get", {"experiment_id": " +0 "}, OK),
        ("experiments/get", {"experiment_id": ["0", "99999"]}, OK),
        ("experiments/get-by-name", {"experiment_name": ""}, BAD),
        ("experiments/get-by-name", {"experiment_name": "nobody"}, MISSING),
        ("runs/get", {"run_id": ""}, BAD),
        ("runs/get", {"run_id": "nope"}, MISSING),
        ("metrics/get-history", {"run_id": "<run>"}, BAD),
        ("metrics/get-history", {"run_id": "<run>", "metric_key": "m", "max_results": 0}, BAD),
        ("metrics/get-history", {"run_id": "<run>", "metric_key": "m", "page_token": "x"}, BAD),
        ("metrics/get-history", {"run_id": "<run>", "metric_key": "none"}, OK),
        ("metrics/get-history", {"run_id": "<run>", "metric_key": ""}, BAD),
        ("metrics/get-history", {"run_id": "nope", "metric_key": "m"}, OK),
        ("metrics/get-history-bulk", {"run_id": "<run>"}, BAD),
        ("metrics/get-history-bulk", {"run_id": ["a"] * 101, "metric_key": "m"}, BAD),
        ("metrics/get-history-bulk", {"run_id": ["nope"], "metric_key": "m"}, OK),
        ("metrics/get-history-bulk-interval", {"run_ids": "<run>"}, BAD),
        ("metrics/get-history-bulk-interval", {"run_ids": "<run>", "metric_key": "m", "start_step": 1}, BAD),
        ("metrics/get-history-bulk-interval", {"run_ids": "<run>", "metric_key": "m", "max_results": 2501}, BAD),
        (
            "metrics/get-history-bulk-interval",
            {"run_ids": "<run>", "metric_key": "m", "start_step": 5, "end_step": 1},
            BAD,
        ),
        ("logged-models/m-nope", {}, MISSING),
    ],
)
def test_answer_to_a_question_is_mlflows(ask: Ask, run: str, path: str, query: Body, expected: tuple[int, str]) -> None:
    assert verdict(ask("GET", path, filled(query, run=run))) == expected


# What MLflow's server does here helps nobody: it answers 500, takes nonsense silently, or cannot say it at all.
DELIBERATE: list[tuple[str, Body, tuple[int, str], str]] = [
    ("runs/update", {**RUN, "status": "FOO"}, BAD, "200 and nothing happens"),
    ("runs/log-metric", {**RUN, **METRIC, "value": True}, BAD, "200 and 1.0"),
    ("runs/log-metric", {**RUN, **METRIC, "timestamp": 10**19}, BAD, "200 and another time"),
    ("runs/log-metric", {**RUN, **METRIC, "model_id": "m-nope"}, MISSING, "400 BAD_REQUEST"),
    ("runs/log-batch", {**RUN, "metrics": [5]}, BAD, "500"),
    ("runs/log-batch", {**RUN, "metrics": None}, OK, "500"),
    ("runs/log-inputs", {**RUN, "datasets": [{"dataset": {"digest": "1"}}]}, BAD, "200 and a dataset without a name"),
    ("runs/log-model", {**RUN, "model_json": "[]"}, BAD, "500"),
    ("runs/log-model", {**RUN, "model_json": '{"run_id": ' + "[" * 2000 + "]" * 2000 + "}"}, BAD, "500"),
    ("runs/search", {"order_by": ["metrics.m", "metrics.m"]}, BAD, "500"),
    ("runs/search", {"order_by": [f"metrics.m{n}" for n in range(33)]}, BAD, "500"),
    ("runs/search", {"order_by": [f"metrics.m{n}" for n in range(32)]}, OK, "200"),
    ("logged-models/search", {"experiment_ids": ["0"] * 10_001}, BAD, "200"),
    ("logged-models/search", {"experiment_ids": ["0"], "order_by": [{"field_name": "name"}] * 33}, BAD, "500"),
    ("logged-models/search", {"experiment_ids": ["0"], "datasets": [{"dataset_name": "d"}] * 101}, BAD, "200"),
    ("experiments/create", {"name": "x", "artifact_location": "s3://[x"}, BAD, "200"),
    ("runs/search", {"filter": "metrics.m > 1 metrics.n > 2"}, BAD, "200, both must hold"),
    ("runs/search", {"filter": "metrics.m > 1 OR NOT (metrics.n BETWEEN 1 AND 2)"}, OK, "400"),
    ("runs/search", {"filter": "metrics.m IS NULL AND params.p IN ('1', '2')"}, OK, "400"),
    ("runs/search", {"run_view_type": "X"}, BAD, "200 and the default"),
    ("logged-models/search", {"experiment_ids": ["0"], "filter": "foo = 'x'"}, BAD, "500"),
    ("logged-models/search", {"experiment_ids": ["0"], "page_token": "x"}, BAD, "500"),
    ("experiments/create", {"name": "x", "artifact_location": "s3://b/../x"}, BAD, "200"),
    ("experiments/create", {"name": "x", "artifact_location": "mlflow-artifacts:/x?y=1"}, BAD, "200"),
    ("experiments/create", {"name": "x", "artifact_location": "/srv/x?y=1"}, BAD, "200"),
    ("experiments/create", {"name": "x", "artifact_location": "mlflow-artifacts:/./x"}, BAD, "200"),
    ("experiments/update", {**OF, "new_name": "Default"}, TAKEN, "400 BAD_REQUEST"),
    ("runs/create", {**OF, "tags": [{"key": "", "value": "1"}]}, BAD, "200 and a tag without a name"),
    ("runs/create", {**OF, "tags": [{"key": "k" * 251, "value": "1"}]}, BAD, "200 on SQLite, 500 on PostgreSQL"),
    ("runs/create", {**OF, "tags": [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}]}, OK, "400 BAD_REQUEST"),
]


@pytest.mark.parametrize(("path", "body", "expected", "theirs"), DELIBERATE)
def test_answer_that_differs_on_purpose(
    ask: Ask, experiment: str, run: str, path: str, body: Body, expected: tuple[int, str], theirs: str
) -> None:
    assert verdict(ask("POST", path, filled(body, run=run, experiment=experiment))) == expected, theirs


def test_new_run_has_mlflows_fields(ask: Ask, experiment: str) -> None:
    body = {"experiment_id": experiment, "start_time": 7, "user_id": "u", "tags": [{"key": "a", "value": ""}]}
    answer = ask("POST", "runs/create", body)[1]["run"]
    run_id, name = answer["info"]["run_id"], answer["info"]["run_name"]
    assert answer == {
        "info": {
            "run_id": run_id,
            "run_uuid": run_id,
            "run_name": name,
            "experiment_id": experiment,
            "user_id": "u",
            "status": "RUNNING",
            "start_time": 7,
            "artifact_uri": f"mlflow-artifacts:/{experiment}/{run_id}/artifacts",
            "lifecycle_stage": "active",
        },
        "data": {"tags": [{"key": "a", "value": ""}, {"key": "mlflow.runName", "value": name}]},
        "inputs": {},
    }
    assert ask("GET", "runs/get", {"run_id": run_id})[1]["run"] == {**answer, "outputs": {}}


def test_new_run_has_the_name_that_is_kept(ask: Ask, experiment: str) -> None:
    answer = ask("POST", "runs/create", {"experiment_id": experiment, "run_name": "n" * 8001})[1]["run"]
    assert answer["info"]["run_name"] == answer["data"]["tags"][0]["value"] == "n" * 8000
    run_id = answer["info"]["run_id"]
    assert ask("GET", "runs/get", {"run_id": run_id})[1]["run"] == {**answer, "outputs": {}}


def test_what_is_made_without_a_name_gets_one_that_can_be_said(ask: Ask, experiment: str) -> None:
    run = ask("POST", "runs/create", {"experiment_id": experiment})[1]["run"]["info"]["run_name"]
    model = ask("POST", "logged-models", {"experiment_id": experiment})[1]["model"]["info"]["name"]
    for name in (run, model):
        assert re.fullmatch(r"[a-z]+-[a-z]+-\d{1,3}", name)


def test_name_of_a_run_is_not_changed_to_nothing(ask: Ask, run: str) -> None:
    tag = {"key": "mlflow.runName", "value": ""}
    assert verdict(ask("POST", "runs/set-tag", {"run_id": run, **tag})) == OK
    assert verdict(ask("POST", "runs/log-batch", {"run_id": run, "tags": [tag]})) == OK
    found = ask("GET", "runs/get", {"run_id": run})[1]["run"]
    assert (found["info"]["run_name"], found["data"]["tags"]) == ("one", [{**tag, "value": "one"}])


def test_names_of_fields_and_values_may_be_those_of_protobufs_json(ask: Ask, experiment: str) -> None:
    body = {"experimentId": experiment, "runName": "one", "startTime": 5, "newField": {"a": 1}}
    info = ask("POST", "runs/create", body)[1]["run"]["info"]
    assert (info["experiment_id"], info["run_name"], info["start_time"]) == (experiment, "one", 5)
    run = info["run_id"]
    for status, expected in ((3, "FINISHED"), ("4", "FAILED"), ("SCHEDULED", "SCHEDULED"), (1, "RUNNING")):
        info = ask("POST", "runs/update", {"runId": run, "status": status})[1]["run_info"]
        assert info["status"] == expected
    for status in (0, 6, -1, "", True, 1.5, "running", "9" * 5000, "\u0663"):
        assert verdict(ask("POST", "runs/update", {"run_id": run, "status": status})) == BAD
    model = ask("POST", "logged-models", {"experimentId": experiment, "sourceRunId": run})[1]["model"]["info"]
    metric = {"key": "m", "value": 1, "timestamp": 1, "modelId": model["model_id"], "datasetName": "d"}
    assert verdict(ask("POST", "runs/log-batch", {"runId": run, "metrics": [metric]})) == BAD
    assert verdict(ask("POST", "runs/log-batch", {"run_id": run, "metrics": [metric]})) == BAD
    batch = {"run_id": run, "metrics": [{**metric, "datasetDigest": "1"}]}
    assert verdict(ask("POST", "runs/log-batch", batch)) == OK
    (measured,) = ask("GET", f"logged-models/{model['model_id']}", {})[1]["model"]["data"]["metrics"]
    assert (measured["run_id"], measured["dataset_name"], measured["dataset_digest"]) == (run, "d", "1")
    status = {"model_id": model["model_id"], "status": 2}
    answer = ask("PATCH", f"logged-models/{model['model_id']}", status)[1]["model"]["info"]
    assert answer["status"] == "LOGGED_MODEL_READY"
    ask("POST", "runs/delete", {"runId": run})
    deleted = {"experimentIds": [experiment], "runViewType": 2}
    assert [found["info"]["run_id"] for found in ask("POST", "runs/search", deleted)[1]["runs"]] == [run]
    found = ask("GET", "experiments/search", {"view_type": "2", "max_results": 1})
    assert verdict(found) == OK


def test_datasets_of_a_run_are_in_the_order_it_named_them(ask: Ask, experiment: str) -> None:
    def used(names: str) -> list[str]:
        run = ask("POST", "runs/create", {"experiment_id": experiment})[1]["run"]["info"]["run_id"]
        first, second = names[:2], names[2:]
        for part in (first, first, second):
            uses = [{"dataset": {**DATASET, "name": name}} for name in part]
            ask("POST", "runs/log-inputs", {"run_id": run, "datasets": uses})
        inputs = ask("GET", "runs/get", {"run_id": run})[1]["run"]["inputs"]
        return [use["dataset"]["name"] for use in inputs["dataset_inputs"]]

    for names in ("abcd", "dcba", "bdac"):
        assert used(names) == list(names)


def test_dataset_without_a_context_has_none(ask: Ask, experiment: str) -> None:
    runs = []
    for tags in ([], [{"key": "mlflow.data.context", "value": "train"}]):
        runs.append(ask("POST", "runs/create", {"experiment_id": experiment})[1]["run"]["info"]["run_id"])
        body = {"run_id": runs[-1], "datasets": [{"dataset": DATASET, "tags": tags}]}
        assert verdict(ask("POST", "runs/log-inputs", body)) == OK
    plain, training = runs

    def found(text: str) -> set[str]:
        answer = ask("POST", "runs/search", {"experiment_ids": [experiment], "filter": text})[1]
        return {run["info"]["run_id"] for run in answer.get("runs", [])}

    assert found("dataset.context = ''") == found("dataset.context != 'train'") == set()
    assert found("dataset.context LIKE '%'") == found("dataset.context IS NOT NULL") == {training}
    assert found("dataset.context IS NULL") == {plain}
    assert found("dataset.name = 'd'") == {plain, training}


def test_location_of_files_stays_where_it_is_and_keeps_what_it_asks_for(ask: Ask) -> None:
    def kept(location: str) -> tuple[str, str]:
        created = ask("POST", "experiments/create", {"name": next(names), "artifact_location": location})[1]
        found = ask("GET", "experiments/get", created)[1]["experiment"]["artifact_location"]
        info = ask("POST", "runs/create", created)[1]["run"]["info"]
        return found, info["artifact_uri"].replace(info["run_id"], "RUN")

    here = Path.cwd()
    for location in ("s3://b/p", "s3://b/p/", "gs://b", "/srv/models", "file:///srv", "mlflow-artifacts:/shared"):
        assert kept(location) == (location, f"{location.rstrip('/')}/RUN/artifacts")
    assert kept("s3://b/p?region=eu") == ("s3://b/p?region=eu", "s3://b/p/RUN/artifacts?region=eu")
    assert kept("models") == kept("./models") == (f"{here}/models", f"{here}/models/RUN/artifacts")
    for location in ("S3://b/p", "FILE:///srv", "MLFLOW-ARTIFACTS:/shared"):
        scheme, _, rest = location.partition(":")
        assert kept(location) == (location, f"{scheme.lower()}:{rest}/RUN/artifacts")
    assert kept("file:models") == (f"file://{here}/models", f"file://{here}/models/RUN/artifacts")


@pytest.mark.parametrize("path", ["experiments/search", "runs/search", "logged-models/search"])
def test_page_of_nothing_is_empty(ask: Ask, experiment: str, path: str) -> None:
    nobody = {"experiment_ids": [experiment], "filter": "name = 'nobody'", "max_results": 10}
    if path == "runs/search":
        nobody["filter"] = "attributes.run_name = 'nobody'"
    assert ask("POST", path, nobody) == (200, {})


def test_experiment_has_mlflows_fields(ask: Ask, experiment: str) -> None:
    answer = ask("GET", "experiments/get", {"experiment_id": experiment})[1]["experiment"]
    assert answer["creation_time"] == answer["last_update_time"]
    assert {key: answer[key] for key in answer if not key.endswith("time") and key != "name"} == {
        "experiment_id": experiment,
        "artifact_location": f"mlflow-artifacts:/{experiment}",
        "lifecycle_stage": "active",
        "workspace": "default",
    }


def test_question_may_be_asked_in_the_body(url: str, run: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    found = []
    for address, body in (("", {"run_id": run}), (f"?run_id={run}", {"run_id": "nope"}), ("", {"run_id": "nope"})):
        connection.request("GET", f"/api/2.0/mlflow/runs/get{address}", json.dumps(body).encode())
        answer = connection.getresponse()
        found.append(answer.status)
        answer.read()
    connection.close()
    assert found == [200, 200, 404]


def test_default_experiment_is_as_old_as_the_server(ask: Ask) -> None:
    default = ask("GET", "experiments/get", {"experiment_id": "0"})[1]["experiment"]
    assert default["creation_time"] > 1_500_000_000_000


def test_end_that_is_given_is_the_end(ask: Ask, run: str) -> None:
    """Where none is, MLflow's server has none when a run is finished, and keeps it when the run goes on."""
    for end, more in ((55, {}), (7, {"status": "SCHEDULED"}), (9, {"status": "FINISHED"})):
        info = ask("POST", "runs/update", {"run_id": run, "end_time": end, **more})[1]["run_info"]
        assert info["end_time"] == end
    assert "end_time" not in ask("POST", "runs/update", {"run_id": run, "status": "RUNNING"})[1]["run_info"]
    assert ask("POST", "runs/update", {"run_id": run, "status": "KILLED"})[1]["run_info"]["end_time"] > 55


def test_logged_model_has_mlflows_fields(ask: Ask, experiment: str, run: str) -> None:
    info = ask("POST", "logged-models", {"experiment_id": experiment, "name": "m"})[1]["model"]["info"]
    assert (info["status"], info["model_type"], info["source_run_id"]) == ("LOGGED_MODEL_PENDING", "", "")
    model_id = info["model_id"]
    for step, value in ((1, 0.5), (2, 0.9)):
        body = {"run_id": run, "key": "acc", "value": value, "timestamp": step, "step": step, "model_id": model_id}
        assert verdict(ask("POST", "runs/log-metric", body)) == OK
    data = ask("GET", f"logged-models/{model_id}", {})[1]["model"]["data"]
    assert [(item["step"], item["value"]) for item in data["metrics"]] == [(1, 0.5), (2, 0.9)]
    assert ask("PATCH", f"logged-models/{model_id}/tags", {"tags": [{"key": "k", "value": "v"}]}) == (200, {})
    for _ in range(2):
        assert verdict(ask("DELETE", f"logged-models/{model_id}", {})) == OK
    assert verdict(ask("GET", f"logged-models/{model_id}", {})) == MISSING
    assert verdict(ask("GET", f"logged-models/{model_id}", {"allow_deleted": "true"})) == OK


def test_logged_models_are_found_by_what_they_do_not_have(ask: Ask, experiment: str, run: str) -> None:
    of = {"experiment_id": experiment}
    for body in ({"name": "a", "model_type": "t"}, {"name": "b"}, {"name": "c", "source_run_id": run}):
        ask("POST", "logged-models", {**of, **body, "params": [{"key": "depth", "value": "3"}]})

    def found(text: str, *order: str) -> str:
        orders = [{"field_name": name} for name in (*order, "name")]
        body = {"experiment_ids": [experiment], "filter": text, "order_by": orders}
        models = ask("POST", "logged-models/search", body)[1].get("models", [])
        return "".join(model["info"]["name"] for model in models)

    assert found("model_type != 't'") == found("model_type = ''") == found("NOT model_type = 't'") == "bc"
    assert found("model_type IS NULL") == "bc"
    assert found("source_run_id = ''") == "ab"
    assert found("source_run_id IS NOT NULL") == "c"
    assert found("source_run_id LIKE '%'") == "abc"
    assert (found("", "model_type"), found("", "source_run_id")) == ("bca", "abc")
    assert found("params.depth = 3") == found("params.depth LIKE 3") == found("params.depth = '3'") == "abc"
    assert found("params.depth != 3") == found("params.depth = 3.0") == found("params.depth = 03") == ""
    assert found("lifecycle_stage = 'active'") == found(f"experiment_id = '{experiment}'") == "abc"
    assert found("artifact_location LIKE 'mlflow-artifacts:%'", "artifact_location")


def test_deleted_tag_of_an_experiment_is_gone(ask: Ask, experiment: str) -> None:
    of = {"experiment_id": experiment}
    for key in ("team", "stage"):
        ask("POST", "experiments/set-experiment-tag", {**of, "key": key, "value": "v"})
    assert ask("POST", "experiments/delete-experiment-tag", {**of, "key": "team"}) == (200, {})
    assert ask("GET", "experiments/get", of)[1]["experiment"]["tags"] == [{"key": "stage", "value": "v"}]
    assert verdict(ask("POST", "experiments/delete-experiment-tag", {**of, "key": "team"})) == MISSING
    ask("POST", "experiments/delete", of)
    assert verdict(ask("POST", "experiments/delete-experiment-tag", {**of, "key": "stage"})) == BAD


@pytest.fixture
def model_id(ask: Ask, experiment: str) -> str:
    return str(ask("POST", "logged-models", {"experiment_id": experiment, "name": "m"})[1]["model"]["info"]["model_id"])


def test_param_of_a_logged_model_is_said_once(ask: Ask, model_id: str) -> None:
    """MLflow's own server takes no value a second time, the same one neither, and wants the id in the body as well."""
    path = f"logged-models/{model_id}/params"
    said = [{"key": "depth", "value": "3"}, {"key": "empty", "value": ""}]
    assert ask("POST", path, {"model_id": model_id, "params": said}) == (200, {})
    assert ask("POST", path, {"params": said}) == (200, {})
    assert ask("POST", path, {"params": []}) == ask("POST", path, {}) == (200, {})
    other = [{"key": "new", "value": "1"}, {"key": "depth", "value": "4"}]
    status, answer = ask("POST", path, {"params": other})
    assert (status, answer["error_code"]) == BAD
    assert f"The param 'depth' of logged model {model_id} is '3' and cannot become '4'" in answer["message"]
    assert ask("GET", f"logged-models/{model_id}", {})[1]["model"]["data"]["params"] == said


def test_deleted_logged_model_is_finished_and_described_as_any_other(ask: Ask, model_id: str) -> None:
    """A script that still trains must not fail because somebody has deleted what it logs to."""
    path = f"logged-models/{model_id}"
    ask("DELETE", path, {})
    body = {"model_id": model_id, "status": "LOGGED_MODEL_READY"}
    assert ask("PATCH", path, body)[1]["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    assert ask("POST", f"{path}/params", {"params": [{"key": "p", "value": "1"}]}) == (200, {})
    assert ask("PATCH", f"{path}/tags", {"tags": [{"key": "t", "value": "1"}, {"key": "u", "value": "1"}]}) == (200, {})
    assert ask("DELETE", f"{path}/tags/u", {}) == (200, {})
    kept = ask("GET", path, {"allow_deleted": "true"})[1]["model"]
    assert kept["info"]["tags"] == [{"key": "t", "value": "1"}]
    assert kept["data"]["params"] == [{"key": "p", "value": "1"}]
    assert verdict(ask("GET", path, {})) == MISSING


def test_param_of_a_logged_model_may_be_called_anything(ask: Ask, model_id: str) -> None:
    path = f"logged-models/{model_id}/params"
    for key, expected in (("", BAD), ("a//b", OK), ("a?", OK), ("k" * 251, BAD)):
        assert verdict(ask("POST", path, {"params": [{"key": key, "value": "1"}]})) == expected, key
    assert verdict(ask("POST", path, {"params": [{"key": "n", "value": 5}]})) == BAD
    assert verdict(ask("POST", path, {"params": [{"key": "n", "value": "5"}] * 2})) == BAD


def test_what_is_said_of_a_logged_model_is_kept_at_any_length(ask: Ask, model_id: str) -> None:
    path = f"logged-models/{model_id}"
    params, tags = [{"key": "k" * 250, "value": "x" * 70_000}], [{"key": "t", "value": "y" * 80_000}]
    assert verdict(ask("POST", f"{path}/params", {"params": params})) == OK
    assert verdict(ask("PATCH", f"{path}/tags", {"tags": tags})) == OK
    model = ask("GET", path, {})[1]["model"]
    assert (model["data"]["params"], model["info"]["tags"]) == (params, tags)


def test_tag_that_a_run_is_created_with_is_kept_at_any_length(ask: Ask, experiment: str) -> None:
    note = {"key": "mlflow.note.content", "value": "x" * 80_000}
    data = ask("POST", "runs/create", {"experiment_id": experiment, "tags": [note]})[1]["run"]["data"]
    assert note in data["tags"]


def test_param_and_tag_of_a_run_that_are_too_long_are_cut(ask: Ask, run: str) -> None:
    ask("POST", "runs/log-parameter", {"run_id": run, "key": "p", "value": "x" * 6001})
    assert verdict(ask("POST", "runs/log-parameter", {"run_id": run, "key": "p", "value": "x" * 6005})) == OK
    ask("POST", "runs/set-tag", {"run_id": run, "key": "t", "value": "x" * 8001})
    data = ask("GET", "runs/get", {"run_id": run})[1]["run"]["data"]
    assert data["params"] == [{"key": "p", "value": "x" * 6000}]
    assert {tag["key"]: len(tag["value"]) for tag in data["tags"]} == {"mlflow.runName": 3, "t": 8000}


def test_deleting_an_experiment_deletes_its_runs_and_restoring_restores_them(
    ask: Ask, experiment: str, run: str
) -> None:
    for verb, stage in (("delete", "deleted"), ("restore", "active")):
        assert verdict(ask("POST", f"experiments/{verb}", {"experiment_id": experiment})) == OK
        assert verdict(ask("POST", f"experiments/{verb}", {"experiment_id": experiment})) == MISSING
        assert ask("GET", "runs/get", {"run_id": run})[1]["run"]["info"]["lifecycle_stage"] == stage


def test_deleted_run_takes_nothing_and_can_be_read(ask: Ask, run: str) -> None:
    assert [verdict(ask("POST", "runs/delete", {"run_id": run})) for _ in range(2)] == [OK, OK]
    for path, body in (
        ("runs/log-metric", METRIC),
        ("runs/log-parameter", {"key": "a", "value": "1"}),
        ("runs/set-tag", {"key": "a", "value": "1"}),
        ("runs/delete-tag", {"key": "a"}),
        ("runs/log-batch", {}),
        ("runs/update", {"status": "FAILED"}),
        ("runs/log-inputs", {}),
        ("runs/outputs", {"models": []}),
    ):
        assert verdict(ask("POST", path, {"run_id": run, **body})) == BAD, path
    assert ask("GET", "runs/get", {"run_id": run})[0] == 200
    assert verdict(ask("POST", "runs/restore", {"run_id": run})) == OK


def test_history_is_by_time_and_pages(ask: Ask, run: str) -> None:
    for at, step, value in ((3, 0, 1.0), (1, 9, 2.0), (2, 5, "NaN")):
        ask("POST", "runs/log-metric", {"run_id": run, "key": "m", "value": value, "timestamp": at, "step": step})
    query = {"run_id": run, "metric_key": "m"}
    whole = ask("GET", "metrics/get-history", query)[1]
    assert [(item["timestamp"], item["value"]) for item in whole["metrics"]] == [(1, 2.0), (2, "NaN"), (3, 1.0)]
    assert "next_page_token" not in whole
    first = ask("GET", "metrics/get-history", {**query, "max_results": 2})[1]
    second = ask("GET", "metrics/get-history", {**query, "max_results": 2, "page_token": first["next_page_token"]})[1]
    assert first["metrics"] + second["metrics"] == whole["metrics"]
    assert "next_page_token" not in second


def test_charts_get_samples_of_several_runs(ask: Ask, run: str) -> None:
    points = [{"key": "h", "value": float(i), "timestamp": i, "step": i} for i in range(1000)]
    ask("POST", "runs/log-batch", {"run_id": run, "metrics": points})
    path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
    asked = {"run_ids": [run, "nope"], "metric_key": "h", "max_results": 7}
    sample = ask("GET", f"{path}-interval", asked)[1]["metrics"]
    assert [item["step"] for item in sample] == [0, 143, 286, 429, 572, 715, 999]
    assert {item["run_id"] for item in sample} == {run}
    bulk = ask("GET", path, {"run_id": [run, "nope"], "metric_key": "h", "max_results": 2})[1]
    assert [item["step"] for item in bulk["metrics"]] == [0, 1]
    assert ask("GET", path, {"run_id": run, "metric_key": "none"}) == (200, {"metrics": []})


@pytest.mark.parametrize(
    "path", ["/api/2.0mlflow/experiments/search-datasets", "/ajax-api/2.0/mlflow/experiments/search-datasets"]
)
def test_datasets_of_experiments_are_found_on_the_odd_path_as_well(
    ask: Ask, experiment: str, run: str, path: str
) -> None:
    tags = [{"key": "mlflow.data.context", "value": "train"}]
    ask("POST", "runs/log-inputs", {"run_id": run, "datasets": [{"dataset": DATASET, "tags": tags}]})
    summary = {"experiment_id": experiment, "name": "d", "digest": "1", "context": "train"}
    assert ask("POST", path, {"experiment_ids": [experiment]}) == (200, {"dataset_summaries": [summary]})
