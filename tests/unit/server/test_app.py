import asyncio
import http.client
import json
import logging
import re
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from lockgate import __version__
from lockgate.metadata.tables import experiments
from lockgate.server.app import make_app
from lockgate.server.context import Context

RUNS = "/api/2.0/mlflow/runs"
MODELS = "/api/2.0/mlflow/logged-models"


def test_health_version_and_metrics(asked) -> None:
    assert asked.ask("GET", "/health")[:2] == (200, b"OK")
    assert asked.ask("GET", "/version")[:2] == (200, __version__.encode())
    asked.ask("GET", f"{RUNS}/get?run_id=nothing")
    file = "/api/2.0/mlflow-artifacts/artifacts/0/f"
    for method, path in (("PUT", file), ("GET", file), ("GET", f"/ajax-api{file.removeprefix('/api')}")):
        assert asked.ask(method, path, b"x" if method == "PUT" else None)[0] == 200
    asked.ask("GET", "/api/2.0/mlflow/logged-models/none")
    expected = {
        "mlflow:GET:runs/get": "1",
        "artifact:PUT": "1",
        "artifact:GET": "2",
        "mlflow:GET:logged-models/{model_id}": "1",
    }
    deadline = time.monotonic() + 20
    while (counted := count_of_requests(asked)) != expected:  # a file is closed, and then counted, after it has come
        assert time.monotonic() < deadline, counted
    status, info, _ = asked.ask("GET", "/api/3.0/mlflow/server-info")
    assert (status, info["multipart_uploads_enabled"]) == (200, False)


def count_of_requests(asked) -> dict[str, str]:
    status, text, _ = asked.ask("GET", "/metrics")
    assert status == 200
    counted = dict(re.findall(r'lockgate_api_requests_total{operation="(.+?)",status="\d+"} (\d+)', text.decode()))
    return {name: count for name, count in counted.items() if name != "other"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not JSON"),
        (b'{"experiment_id": {}}', "experiment_id"),
        (b'{"tags": [{"value": "x"}]}', "key"),
        (b'{"experiment_id": "abc"}', "not an experiment id"),
        (b'{"start_time": "yesterday"}', "start_time"),
        (b"[" * 100_000, "not JSON"),
        (b'{"unknown": ' + b"[" * 2000 + b"]" * 2000 + b"}", "not JSON"),
    ],
)
def test_malformed_body_is_named(asked, body: bytes, says: str) -> None:
    status, answer, _ = asked.ask("POST", f"{RUNS}/create", body)
    assert status == 400
    assert answer["error_code"] == "INVALID_PARAMETER_VALUE"
    assert says in answer["message"]


def test_missing_field_is_named_as_mlflow_names_it(asked) -> None:
    status, answer, _ = asked.ask("POST", "/api/2.0/mlflow/experiments/create", b"{}")
    assert (status, answer["message"]) == (400, "Missing value for required parameter 'name'.")


@pytest.mark.parametrize(
    "path",
    [
        "access/list-audit?",
        "delivery/list-rollouts?model=m&",
        "events/list-events?",
        "monitoring/list-windows?model=m&environment=e&",
        "registry/alias-history?model=m&",
        "registry/list-releases?model=m&",
        "registry/list-versions?model=m&",
    ],
)
def test_list_of_none_or_of_more_than_a_server_has_room_for_is_refused(asked, path: str) -> None:
    for limit in (-1, 0, 10_001):
        status, answer, _ = asked.ask("GET", f"/api/lockgate/1/{path}limit={limit}")
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert answer["message"] == f"limit is {limit}, expected 1 to 10000."
    assert asked.ask("GET", f"/api/lockgate/1/{path}limit=10000")[0] == 200


def test_null_and_unknown_fields_and_numbers_as_text_are_taken(asked) -> None:
    body = b'{"experiment_id": "0", "user_id": null, "start_time": "17", "later": {"x": 1}}'
    status, answer, _ = asked.ask("POST", f"{RUNS}/create", body)
    assert status == 200
    assert answer["run"]["info"]["start_time"] == 17
    run_id = answer["run"]["info"]["run_id"]
    metric = f'{{"run_uuid": "{run_id}", "key": "m", "value": NaN, "timestamp": "1"}}'.encode()
    assert asked.ask("POST", f"{RUNS}/log-metric", metric)[0] == 200
    _, answer, _ = asked.ask("GET", f"{RUNS}/get?run_uuid={run_id}")
    assert answer["run"]["data"]["metrics"] == [{"key": "m", "value": "NaN", "timestamp": 1, "step": 0}]


def test_body_that_is_too_large_is_refused_and_the_server_goes_on(asked) -> None:
    status, answer, _ = asked.ask("POST", f"{RUNS}/create", b'{"user_id": "' + b"x" * (100 << 20) + b'"}')
    assert status == 413
    assert "more than 1 MiB" in answer["message"]
    assert asked.ask("GET", "/health")[0] == 200


def test_unknown_path_says_so_in_mlflows_words(asked) -> None:
    status, answer, headers = asked.ask("GET", "/api/2.0/mlflow/nothing/search")
    assert (status, answer["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    assert ("hint" in answer, "allow" in headers) == (False, False)
    for path in ("/health/", f"{RUNS}/create/", f"{RUNS}/search//"):  # and leads nowhere else
        status, answer, headers = asked.ask("POST", path, b"{}")
        assert (status, answer["error_code"], "location" in headers) == (404, "ENDPOINT_NOT_FOUND", False)
    for path in ("/health", "/api/2.0/mlflow/webhooks/x", "/api/2.0/mlflow/logged-models/x", f"{RUNS}/create"):
        status, answer, _ = asked.ask("PUT", path, b"")
        assert (status, answer["error_code"]) == (405, "ENDPOINT_NOT_FOUND")


def test_path_that_is_asked_for_by_another_method_says_which_it_takes(asked) -> None:
    for path, methods in (
        (f"{RUNS}/create", "POST"),
        (f"{RUNS}/get", "GET, HEAD"),
        ("/ajax-api/2.0/mlflow/webhooks", "GET, HEAD, POST"),
        ("/api/2.0/mlflow/webhooks/x", "DELETE, GET, HEAD, PATCH"),
        ("/api/2.0/mlflow-artifacts/artifacts/0/f", "DELETE, GET, HEAD, PUT"),
    ):
        status, answer, headers = asked.ask("OPTIONS", path, b"")
        assert (status, answer["hint"]) == (405, f"this path takes {methods}")
        assert sorted(headers["allow"].split(", ")) == methods.split(", ")


def test_what_can_be_read_can_be_asked_about(asked) -> None:
    run_id = asked.ask("POST", f"{RUNS}/create", b"{}")[1]["run"]["info"]["run_id"]
    for query, expected in ((f"run_id={run_id}", 200), ("run_id=nope", 404)):
        get = asked.ask("GET", f"{RUNS}/get?{query}")
        status, answer, headers = asked.ask("HEAD", f"{RUNS}/get?{query}")
        assert (status, answer) == (expected, b"")
        assert headers["content-length"] == get[2]["content-length"]


def test_version_from_outside_is_on_the_pages(asked) -> None:
    for path, request in (
        ("registered-models/create", {"name": "team/um"}),
        ("model-versions/create", {"name": "team/um", "source": "s3://bucket/x"}),
    ):
        assert asked.ask("POST", f"/api/2.0/mlflow/{path}", json.dumps(request).encode())[0] == 200
    status, page, _ = asked.ask("GET", "/")
    assert (status, b"s3://bucket/x" in page, b"no version yet" in page) == (200, True, False)
    assert b'<a href="/releases/team/um/1">' in page
    status, page, _ = asked.ask("GET", "/releases/team/um/1")
    assert (status, b"it has no release record" in page) == (200, True)
    assert asked.ask("GET", "/releases/team/um/2")[0] == 404


def test_pages_prefix_is_the_same_server(asked) -> None:
    status, answer, _ = asked.ask("GET", "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0")
    assert (status, answer["experiment"]["name"]) == (200, "Default")


@pytest.mark.parametrize("database_setting", [""], ids=["sqlite"])
def test_moved_database_is_told_and_no_empty_one_is_made(asked, context: Context) -> None:
    path = context.artifacts.root.parent / "lockgate.db"
    path.rename(path.with_name("moved.db"))
    status, answer, _ = asked.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")
    assert (status, answer["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert answer["message"] == "lockgate.db cannot be found: No such file or directory."
    assert not path.exists()


@pytest.mark.parametrize("database_setting", [""], ids=["sqlite"])  # the other one is shared by all tests
def test_bug_is_a_request_id_and_nothing_else(asked, context: Context, caplog: pytest.LogCaptureFixture) -> None:
    with context.write() as tx:
        tx.connection.exec_driver_sql("ALTER TABLE experiments RENAME TO moved")
    with caplog.at_level(logging.ERROR, logger="lockgate.server"):
        status, answer, _ = asked.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")
    assert status == 500
    assert answer["error_code"] == "INTERNAL_ERROR"
    assert "sqlite" not in json.dumps(answer).lower()
    request_id = answer["message"].rpartition(" ")[2].rstrip(".")
    assert request_id in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "[::1]:1234"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:5000"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[x"}, 403),
        ({"Host": "localhost:1234", "Origin": "http://localhost:1234"}, 200),
        ({"Host": "localhost:1234", "Origin": "http://localhost:9"}, 403),
    ],
)
def test_foreign_page_cannot_use_the_browser_to_get_in(asked, headers: dict[str, str], status: int) -> None:
    assert asked.ask("GET", "/health", headers=headers)[0] == status


def test_author_is_who_the_client_says(asked) -> None:
    body = b'{"name": "m"}'
    asked.ask("POST", "/api/2.0/mlflow/registered-models/create", body, {"X-Lockgate-User": "J%C3%BCrgen"})
    asked.ask("POST", "/api/2.0/mlflow/registered-models/create", b'{"name": "n"}')
    asked.ask("POST", "/api/2.0/mlflow/registered-models/create", b'{"name": "o"}', {"X-Lockgate-User": "a%0Ab"})
    _, answer, _ = asked.ask("GET", "/api/lockgate/1/events/list-events")
    assert [event["by"] for event in answer["events"]] == ["Jürgen", "server", "server"]


def test_many_at_once_are_all_recorded(asked) -> None:
    _, answer, _ = asked.ask("POST", f"{RUNS}/create", b"{}")
    run_id = answer["run"]["info"]["run_id"]
    statuses: list[int] = []

    def log(worker: int) -> None:
        for i in range(15):
            body = json.dumps({"run_id": run_id, "key": f"m{worker}", "value": i, "timestamp": i, "step": i}).encode()
            statuses.append(asked.ask("POST", f"{RUNS}/log-metric", body)[0])

    threads = [threading.Thread(target=log, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 90
    _, answer, _ = asked.ask("GET", f"{RUNS}/get?run_id={run_id}")
    assert [metric["value"] for metric in answer["run"]["data"]["metrics"]] == [14] * 6


@pytest.mark.parametrize("kind", ["run", "logged model"])
def test_of_clients_that_say_a_param_at_once_one_is_told_that_it_is_kept(asked, kind: str) -> None:
    if kind == "run":
        owner = {"run_id": asked.ask("POST", f"{RUNS}/create", b"{}")[1]["run"]["info"]["run_id"]}
        read, say = f"{RUNS}/get?run_id={owner['run_id']}", f"{RUNS}/log-batch"
    else:
        made = asked.ask("POST", MODELS, b'{"experiment_id": "0"}')[1]["model"]
        owner = {"model_id": made["info"]["model_id"]}
        read, say = f"{MODELS}/{owner['model_id']}", f"{MODELS}/{owner['model_id']}/params"
    kept: list[dict[str, str]] = []
    statuses: list[int] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for i in range(15):
            param = {"key": f"p{i:02d}", "value": str(number)}
            status, _, _ = asked.ask("POST", say, json.dumps({**owner, "params": [param]}).encode())
            statuses.append(status)
            if status == 200:
                kept.append(param)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 15 + [400] * 45
    (found,) = asked.ask("GET", read)[1].values()
    assert found["data"]["params"] == sorted(kept, key=lambda param: param["key"])


def test_metric_that_has_to_wait_for_another_writer_keeps_nobody_else_waiting(asked, context: Context) -> None:
    run = asked.ask("POST", f"{RUNS}/create", b"{}")[1]["run"]["info"]["run_id"]
    path = f"{RUNS}/log-metric"
    body = json.dumps({"run_id": run, "key": "m", "value": 1, "timestamp": 1}).encode()
    for _ in range(3):
        assert asked.ask("POST", path, body)[0] == 200
    statuses: list[int] = []
    logging_one = threading.Thread(target=lambda: statuses.append(asked.ask("POST", path, body)[0]))
    with context.write(decision=False):
        logging_one.start()
        logging_one.join(0.2 if context.database.engine.dialect.name == "sqlite" else 20)
        assert asked.ask("GET", "/health")[0] == 200
        assert asked.ask("GET", f"{RUNS}/get?run_id={run}")[0] == 200
        if context.database.engine.dialect.name == "sqlite":  # PostgreSQL's measurements do not wait for each other
            assert statuses == []
    logging_one.join(20)
    assert statuses == [200]


def test_who_waits_for_a_decision_of_others_keeps_no_reader_waiting(asked, context: Context) -> None:
    """However many they are: each of them has a thread for as long as it waits."""
    waiting = [http.client.HTTPConnection("127.0.0.1", asked.port, timeout=30) for _ in range(12)]
    with context.write():
        for connection in waiting:
            connection.request("POST", f"{RUNS}/create", b"{}")
        assert asked.ask("POST", f"{RUNS}/search", b'{"experiment_ids": ["0"]}')[0] == 200
        assert asked.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")[0] == 200
    statuses = []
    for connection in waiting:
        with closing(connection), connection.getresponse() as answer:
            statuses.append(answer.status)
    assert statuses == [200] * 12


def test_server_ends_while_a_write_waits_for_somebody_and_says_nothing_of_it(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does whose database hangs. What is written after all is whole."""
    app = make_app(context)
    body = b'{"name": "late"}'
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/2.0/mlflow/experiments/create",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: object) -> None:
        raise AssertionError("nobody is there")

    async def ask_and_go() -> None:
        asked = asyncio.ensure_future(app(scope, receive, send))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not asked.done()
        asked.cancel()  # what the end of the loop does
        await asked

    with context.write():
        asyncio.run(ask_and_go())
        app.close(limit_s=0.05)
    app.close()
    with context.read() as connection:
        assert "late" in connection.scalars(select(experiments.c.name)).all()
    assert caplog.records == []


def test_page_that_cannot_be_made_because_files_are_used_up_is_unavailable(tmp_path: Path) -> None:
    code = """
import http.client, resource, sys
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread
context = open_context(Path(sys.argv[1]), user="a", clock=SystemClock())
app = make_app(context)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
with serve_in_thread(app) as server:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    # The first opens what is kept open; for the second no more can be, and its template is read when it is wanted.
    for path, most in (("/api/2.0/mlflow/experiments/get?experiment_id=0", 3), ("/", soft), ("/", soft)):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        print(answer.status)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
app.close()
context.close()
"""
    said = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["200", "503", "200"]
