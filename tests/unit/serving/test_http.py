"""Every endpoint over real HTTP."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from lockgate.data.predictions import find_prediction, iter_predictions, read_feedback
from lockgate.serving.traffic import read_observations
from lockgate.testing.replica import RunningReplica

ROW = {"a": 0.5, "b": -1.0, "c": 2.0}


@pytest.fixture(scope="module")
def http(replica: RunningReplica) -> Any:
    with httpx.Client(base_url=replica.url, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def idle(models: Any) -> Any:
    """A replica of an environment that nothing was deployed to."""
    with RunningReplica(models.state, "idle") as replica, httpx.Client(base_url=replica.url) as client:
        yield client


@pytest.fixture(scope="module")
def unloaded(models: Any) -> Any:
    """A replica whose version is not there to be loaded."""
    models.serve("unloaded", (1, "nowhere", 1.0))
    with RunningReplica(models.state, "unloaded") as replica, httpx.Client(base_url=replica.url) as client:
        yield client


def oip(*rows: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": "x", "shape": [len(rows), 3], "datatype": "FP64", "data": [value for row in rows for value in row]}
        ]
    }


def test_health(http: httpx.Client) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/v2/models/m/versions/1/ready", "/ping"):
        assert http.get(path).status_code == 200, path


def test_server_and_model_metadata(http: httpx.Client) -> None:
    assert http.get("/v2").json()["name"] == "lockgate"
    assert http.get("/v2/models/m/versions/1").json() == {
        "name": "m",
        "versions": ["1", "2"],
        "platform": "lockgate_sklearn",
        "inputs": [{"name": name, "datatype": "FP64", "shape": [-1]} for name in "abc"],
        "outputs": [
            {"name": "predict", "datatype": "BOOL", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]},
        ],
    }


def test_inference_answers_with_prediction_probabilities_and_ids(http: httpx.Client) -> None:
    answer = http.post("/v2/models/m/infer", json=oip((0.5, -1.0, 2.0)))
    content = answer.json()
    assert answer.status_code == 200
    assert content["outputs"][0] == {"name": "predict", "datatype": "BOOL", "shape": [1], "data": [True]}
    assert content["outputs"][1]["shape"] == [1, 2]
    assert sum(content["outputs"][1]["data"]) == pytest.approx(1.0)
    assert answer.headers["lockgate-model-version"] == content["model_version"] == "1"
    assert answer.headers["lockgate-prediction-id"] == content["id"] == content["parameters"]["prediction_id"]


def test_tensor_a_column_gives_the_same_as_one_tensor(http: httpx.Client) -> None:
    columns = [{"name": n, "shape": [2, 1], "datatype": "FP64", "data": [[1.5], [-2.0]]} for n in "cab"]
    one = http.post("/v2/models/m/infer", json=oip((1.5, 1.5, 1.5), (-2, -2, -2))).json()
    answer = http.post("/v2/models/m/versions/1/infer", json={"id": "mine", "inputs": columns}).json()
    assert answer["outputs"] == one["outputs"]
    assert answer["id"] == "mine"
    assert answer["parameters"]["prediction_id"] != "mine"


def test_all_forms_of_invocations_agree(http: httpx.Client) -> None:
    bodies: list[Any] = [
        {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[0.5, -1, 2], [-3, 0, 0]]}},
        {"dataframe_split": {"columns": ["c", "b", "a"], "data": [[2, -1, 0.5], [0, 0, -3]]}},
        {"dataframe_records": [ROW, {"a": -3, "b": 0, "c": 0}]},
        {"instances": [ROW, {"a": -3, "b": 0, "c": 0}]},
        {"instances": [[0.5, -1, 2], [-3, 0, 0]]},
        {"inputs": {"a": [0.5, -3], "b": [-1, 0], "c": [2, 0]}},
        {"inputs": [[0.5, -1, 2], [-3, 0, 0]]},
    ]
    for body in bodies:
        answer = http.post("/invocations", json=body)
        assert (answer.status_code, answer.json()) == (200, {"predictions": [True, False]}), body
    csv = http.post("/invocations", content="b,a,c\n-1,0.5,2\n0,-3,0\n", headers={"content-type": "text/csv"})
    assert csv.json() == {"predictions": [True, False]}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/invocations", {"dataframe_records": [{**ROW, "bb": 1}]}, "no column 'bb'. Did you mean 'b'?"),
        ("/invocations", {"dataframe_records": [ROW, {"a": 1, "b": 2}]}, "row 1 lacks the column 'c'"),
        ("/invocations", {"dataframe_records": [{**ROW, "b": "x"}]}, "column 'b' takes double, but row 0 has 'x'"),
        ("/invocations", {"dataframe_records": [{**ROW, "b": True}]}, "column 'b' takes double, but row 0 has True"),
        ("/invocations", {"instances": [[1, None, 2]]}, "column 'b' has no value in row 0"),
        ("/invocations", {"instances": [[1, 2]]}, "row 0 has 2 values, the model takes 3: a, b, c"),
        ("/invocations", {"inputs": {"a": [1], "b": [1, 2], "c": [1]}}, "different lengths"),
        ("/invocations", {"instances": []}, "instances has no rows"),
        ("/invocations", {"rows": []}, "exactly one of: dataframe_split"),
        ("/invocations", {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}, "lacks the column 'c'"),
        ("/v2/models/m/infer", {}, "missing required field `inputs`"),
        ("/v2/models/m/infer", {"inputs": []}, "lacks the tensor 'a'"),
        (
            "/v2/models/m/infer",
            oip() | {"inputs": [{"name": "d", "shape": [1], "datatype": "FP64", "data": [1]}]},
            "'d'",
        ),
        (
            "/v2/models/m/infer",
            {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]},
            "'x' has 4 columns, the model takes 3: a, b, c",
        ),
        (
            "/v2/models/m/infer",
            {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP64", "data": [1, 2, 3]}]},
            "needs 6 values, not 3",
        ),
        (
            "/v2/models/m/infer",
            {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, "y", 3]}]},
            "column 'b' takes double, but row 0 has 'y'",
        ),
    ],
)
def test_bad_input_is_refused_naming_the_field(http: httpx.Client, path: str, body: Any, words: str) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"{", "application/json", "not valid JSON"),
        (b"a,b,c\n1,2\n", "text/csv", "row 0 of the CSV body has 2 values"),
        (b"a,b,c\n1,2,x\n", "text/csv", "column 'c' takes double, but row 0 has 'x'"),
        (b"a,b,c\n", "text/csv", "a header and at least one row"),
        (b"a,b,c\n1,2,\xff\n", "text/csv", "not valid CSV in UTF-8"),
        (b"<x/>", "text/xml", "content type 'text/xml' is not known"),
    ],
)
def test_bad_bodies_are_refused(http: httpx.Client, content: bytes, kind: str, words: str) -> None:
    answer = http.post("/invocations", content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/nothing", 404),
        ("GET", "/v2/models/other", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/m/versions/9/infer", 404),
        ("GET", "/v2/models/m/versions/9", 404),
        ("GET", "/v2/models/m/infer", 400),
        ("DELETE", "/invocations", 400),
    ],
)
def test_wrong_paths_and_methods(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_every_row_is_logged_under_the_id_of_the_answer(http: httpx.Client, models: Any) -> None:
    log = models.state / "serving" / "shared" / "predictions"
    one = http.post("/invocations", json={"instances": [[0.5, -1, 2]]}).headers["lockgate-prediction-id"]
    two = http.post("/invocations", json={"instances": [[0, 1, 2], [3, 4, 5]]}).headers["lockgate-prediction-id"]

    single, second = find_prediction(log, one), find_prediction(log, f"{two}-1")

    assert single is not None and second is not None
    assert (single.model, single.version, single.environment, single.status) == ("m", 1, "shared", 200)
    assert single.inputs == ROW
    assert single.output is True
    assert single.scores is not None and sum(single.scores) == pytest.approx(1.0)
    assert single.latency_ms > 0 and abs(single.at - time.time() * 1000) < 60_000
    assert second.inputs == {"a": 3.0, "b": 4.0, "c": 5.0}
    assert find_prediction(log, two) is None


def test_failing_model_is_a_500_of_that_request_alone(http: httpx.Client, models: Any, replica: RunningReplica) -> None:
    answer = http.post("/v2/models/m/versions/2/infer", json=oip((1000, 0, 0)))
    assert answer.status_code == 500
    assert "version 2 of model m failed" in answer.json()["error"]
    assert "ZeroDivisionError" not in answer.text
    found = find_prediction(
        models.state / "serving" / "shared" / "predictions", answer.headers["lockgate-prediction-id"]
    )
    assert found is not None
    assert (found.status, found.error, found.output) == (500, "ZeroDivisionError: a is too large", None)
    assert http.post("/v2/models/m/versions/2/infer", json=oip((1, 0, 0))).status_code == 200


def test_metrics(http: httpx.Client) -> None:
    http.post("/invocations", json={"instances": [[0, 1, 2]]})
    http.post("/invocations", json={})
    page = http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    for line in (
        'lockgate_requests_total{environment="shared",model="m",version="1"}',
        'lockgate_errors_total{environment="shared",model="m",version="2"}',
        'lockgate_request_latency_seconds_bucket{environment="shared",le="+Inf",model="m",version="1"}',
        'lockgate_batch_rows_count{environment="shared",model="m",version="1"}',
        'lockgate_traffic_share{environment="shared",model="m",version="1"} 1.0',
        'lockgate_refused_total{environment="shared",model="m",status="400",version="1"}',
        "lockgate_requests_in_flight 1.0",
        "lockgate_prediction_log_errors_total 0.0",
    ):
        assert line in page.text, line


def test_what_no_version_was_asked_about_is_refused_in_no_versions_name(http: httpx.Client) -> None:
    assert "lockgate-model-version" not in http.post("/v2/models/m/versions/9/infer", json=oip((1, 2, 3))).headers
    assert 'lockgate_refused_total{status="404"}' in http.get("/metrics").text


def test_input_that_a_version_does_not_take_is_counted_for_it_and_in_no_latency(models: Any) -> None:
    models.serve("unlike", (1, "classifier", 0.5), (2, "mixed", 0.5))
    with RunningReplica(models.state, "unlike") as replica:
        wait_until(lambda: httpx.get(f"{replica.url}/ping").status_code == 200)
        with httpx.Client(base_url=replica.url, timeout=20) as http:
            answers = [http.post("/invocations", json={"instances": [ROW]}) for _ in range(40)]
            named = http.post("/v2/models/m/versions/2/infer", json=oip((1, 2, 3)))
            page = http.get("/metrics").text
    ends = Counter((answer.status_code, answer.headers["lockgate-model-version"]) for answer in answers)
    assert set(ends) == {(200, "1"), (400, "2")}
    assert (named.status_code, named.headers["lockgate-model-version"]) == (400, "2")
    of_2 = 'environment="unlike",model="m",status="400",version="2"'
    assert f"lockgate_refused_total{{{of_2}}} {ends[400, '2'] + 1}.0" in page
    (seen,) = read_observations(models.state / "serving" / "unlike", 60_000)
    one, two = seen.counters
    assert (one.requests, one.refused) == (ends[200, "1"], 0)
    assert (two.requests, two.errors, two.refused, sum(two.latency_ms_counts)) == (0, 0, ends[400, "2"], 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/invocations"), ("POST", "/v2/models/m/infer"), ("GET", "/v2/models/m"), ("GET", "/v2/models/m/ready")],
)
def test_a_replica_with_nothing_loaded_says_whether_it_starts_or_nothing_is_deployed(
    idle: httpx.Client, unloaded: httpx.Client, method: str, path: str
) -> None:
    for http, words in ((idle, "nothing is deployed here yet"), (unloaded, "starting: ")):
        answer = http.request(method, path)
        assert answer.status_code == 503, path
        assert answer.json()["error"].startswith(words)


def test_a_replica_starts_what_is_deployed_while_it_runs(models: Any) -> None:
    with RunningReplica(models.state, "later") as replica:
        models.serve("later", (1, "nowhere", 1.0))
        wait_until(lambda: "starting" in httpx.get(f"{replica.url}/v2/models/m").text)
        models.serve("later", (1, "classifier", 1.0), revision=2)
        wait_until(lambda: httpx.get(f"{replica.url}/v2/models/m").status_code == 200)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_labels_come_back_through_feedback(http: httpx.Client, models: Any) -> None:
    folder = models.state / "serving" / "shared" / "feedback"
    assert http.post("/feedback", json={"prediction_id": "x", "label": 1}).json() == {"accepted": 1}
    assert http.post("/feedback", json=[{"prediction_id": "y", "label": "no", "at": 5}] * 2).json() == {"accepted": 2}
    found = sorted(read_feedback(folder), key=lambda item: item.prediction_id)
    assert [(item.prediction_id, item.label) for item in found] == [("x", 1), ("y", "no"), ("y", "no")]
    assert found[1].at == 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([{"prediction_id": "x", "label": 1}, {"label": 1}], "item 1: Object missing required field `prediction_id`"),
        ({"prediction_id": "x", "label": [1]}, "item 0: Expected"),
        ({"prediction_id": "", "label": 1}, "prediction_id is empty"),
        ({"prediction_id": "x", "label": None}, "label is empty"),
        ({"prediction_id": "x", "label": 1, "extra": 1}, "unknown field `extra`"),
    ],
)
def test_wrong_labels_are_refused_whole(http: httpx.Client, body: Any, words: str) -> None:
    answer = http.post("/feedback", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_large_body_is_refused_without_reading_it(models: Any, replica: RunningReplica) -> None:
    host, port = replica.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 104857600\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_large_body_without_a_length_is_refused_when_it_is_too_much(
    http: httpx.Client, replica: RunningReplica
) -> None:
    def parts() -> Any:
        for _ in range(100):
            yield b" " * (1 << 20)

    with suppress(httpx.WriteError):  # it is told so and hung up on before it has sent everything
        assert http.post("/invocations", content=parts()).status_code == 413
    assert resident_mb(replica.process.pid) < 600
    assert http.get("/v2/health/live").status_code == 200


def test_client_that_leaves_is_no_trouble(http: httpx.Client, replica: RunningReplica) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{replica.url}/v2/models/m/versions/2/infer", json=oip((-1000, 0, 0)), timeout=0.1)
    time.sleep(0.6)
    assert http.post("/v2/models/m/versions/2/infer", json=oip((1, 0, 0))).status_code == 200


def test_slow_batch_does_not_hold_up_health_checks(http: httpx.Client, replica: RunningReplica) -> None:
    # The price of a call is learnt from calls, so the first slow ones hold the loop.
    for _ in range(2):
        http.post("/v2/models/m/versions/2/infer", json=oip((-1000, 0, 0)))
    slow = threading.Thread(
        target=lambda: httpx.post(f"{replica.url}/v2/models/m/versions/2/infer", json=oip((-1000, 0, 0)), timeout=20)
    )
    slow.start()
    time.sleep(0.1)
    started = time.monotonic()
    assert http.get("/v2/health/live").status_code == 200
    took = time.monotonic() - started
    slow.join()
    assert took < 0.3


def test_log_lines_are_predictions(models: Any, http: httpx.Client) -> None:
    http.post("/invocations", json={"instances": [[0, 1, 2]]})
    folder: Path = models.state / "serving" / "shared" / "predictions"
    found = list(iter_predictions(folder))
    lines = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    assert b"".join(msgspec.json.encode(item) + b"\n" for item in found) == lines


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
