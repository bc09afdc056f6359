"""kill -9 of the server or of its database while it works: what it acknowledged is there, nothing is half-done."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.entities import Content, Release

WRITERS = 8
KEYS = 4
STEPS = 25  # of each key in a batch, which so has 100 metrics


def connection_to(port: int) -> contextlib.closing[http.client.HTTPConnection]:
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60))


def post(connection: http.client.HTTPConnection, path: str, value: dict[str, object]) -> tuple[int, Any]:
    connection.request("POST", path, body=json.dumps(value), headers={"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def client_of(port: int) -> Client:
    return connect(Settings(uri=f"http://127.0.0.1:{port}"), state=Path(), user="ann", clock=SystemClock())


class Writer:
    """One client, which logs its batches one after the other: metrics alone, or with params and tags."""

    def __init__(self, number: int, run_id: str) -> None:
        self.acknowledged = 0
        self._run_id = run_id
        self._name = f"w{number}"
        self._keys = [f"{self._name}-{key}" for key in range(KEYS)]
        self._is_mixed = number % 4 >= 2

    def log_next(self, connection: http.client.HTTPConnection) -> int:
        """The batch after the last that was acknowledged; the status."""
        number = self.acknowledged
        metrics = [
            {"key": key, "value": step, "timestamp": step, "step": step}
            for step in range(number * STEPS, (number + 1) * STEPS)
            for key in self._keys
        ]
        body: dict[str, object] = {"run_id": self._run_id, "metrics": metrics}
        if self._is_mixed:
            body["params"] = [{"key": f"{self._name}-{number}", "value": "here"}]
            body["tags"] = [{"key": self._name, "value": str(number)}]
        status, _ = post(connection, "/api/2.0/mlflow/runs/log-batch", body)
        self.acknowledged += status == 200
        return status

    def count_whole(self, client: Client) -> int:
        """How many of its batches are there; none of them in part."""
        run = client.tracking.get_run(self._run_id).data
        histories = [client.tracking.metric_history(self._run_id, key) for key in self._keys]
        count, rest = divmod(len(histories[0]), STEPS)
        assert rest == 0
        assert [[point.step for point in history] for history in histories] == [list(range(count * STEPS))] * KEYS
        newest = [metric.step for metric in run.metrics if metric.key in self._keys]
        assert newest == [count * STEPS - 1] * (KEYS if count else 0)
        params = {param.key for param in run.params if param.key.startswith(self._name)}
        assert params == {f"{self._name}-{number}" for number in range(count if self._is_mixed else 0)}
        tags = [tag.value for tag in run.tags if tag.key == self._name]
        assert tags == ([str(count - 1)] if self._is_mixed and count else [])
        return count


def make_writers(port: int) -> list[Writer]:
    """Two for each run."""
    with connection_to(port) as first:
        made = [post(first, "/api/2.0/mlflow/runs/create", {"experiment_id": "0"})[1] for _ in range(WRITERS // 2)]
    return [Writer(number, made[number // 2]["run"]["info"]["run_id"]) for number in range(WRITERS)]


def log_until_killed(port: int, writers: list[Writer], kill: Callable[[], None], *, after: int) -> set[int]:
    """All at once, killed after so many batches; what was answered then, which is nothing where the server is gone."""
    acknowledged = threading.Semaphore(0)
    answers: set[int] = set()

    def work(writer: Writer) -> None:
        with connection_to(port) as connection:
            try:
                while (status := writer.log_next(connection)) == 200:
                    acknowledged.release()
            except (OSError, http.client.HTTPException):
                return
        answers.add(status)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for _ in range(after):
        assert acknowledged.acquire(timeout=60), answers
    kill()
    for thread in threads:
        thread.join()
    return answers


def check_and_repeat(port: int, writers: list[Writer]) -> None:
    """What was not acknowledged is there whole or not at all, and once when it comes again."""
    with client_of(port) as client, connection_to(port) as connection:
        for writer in writers:
            assert writer.count_whole(client) in (writer.acknowledged, writer.acknowledged + 1)
            assert writer.log_next(connection) == 200
            assert writer.count_whole(client) == writer.acknowledged


@pytest.mark.parametrize("after", [1, 100])
def test_acknowledged_batches_survive_the_server(
    tmp_path: Path, start_server: Callable[..., Any], database_setting: str, after: int
) -> None:
    server = start_server(tmp_path, database_setting)
    writers = make_writers(server.port)
    assert log_until_killed(server.port, writers, server.kill, after=after) == set()
    check_and_repeat(start_server(tmp_path, database_setting).port, writers)


def test_acknowledged_batches_survive_the_database(
    tmp_path: Path, start_server: Callable[..., Any], own_postgres: Any
) -> None:
    server = start_server(tmp_path, own_postgres.create_database())
    writers = make_writers(server.port)
    assert log_until_killed(server.port, writers, own_postgres.kill, after=100) == {503}
    own_postgres.start()
    check_and_repeat(server.port, writers)


def test_release_is_there_whole_or_not_at_all(
    tmp_path: Path, start_server: Callable[..., Any], database_setting: str
) -> None:
    server = start_server(tmp_path, database_setting)
    content = Content(kind="tree", digest="a" * 64, size_bytes=1)
    release = Release(model="m", version=0, content=content, run_id="", created_at=1, created_by="a", flavor="x")
    is_under_way = threading.Event()
    acknowledged = 0

    def kill() -> None:
        is_under_way.wait(60)
        server.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    body: dict[str, object] = {"release": msgspec.to_builtins(release)}
    with connection_to(server.port) as connection, contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            status, answer = post(connection, "/api/lockgate/1/registry/create-release", body)
            assert status == 200, answer
            acknowledged = answer["release"]["version"]
            if acknowledged == 50:
                is_under_way.set()
    killer.join()
    with client_of(start_server(tmp_path, database_setting).port) as client:
        releases = list(client.registry.iter_releases("m"))
        newest = client.registry.get_model("m").latest_version
        assert newest in (acknowledged, acknowledged + 1)
        assert [release.version for release in releases] == list(range(newest, 0, -1))
        created = [event for event in all_events(client) if event.kind == "release.created"]
        assert len(created) == newest
        assert client.registry.create_release(release).version == newest + 1


def all_events(client):
    found, after = [], 0
    while page := client.events.list_events(after=after, limit=1000):
        found += page
        after = page[-1].sequence
    return found


def test_upload_that_the_kill_cut_off_is_not_visible(tmp_path: Path, start_server: Callable[..., Any]) -> None:
    server = start_server(tmp_path)
    with connection_to(server.port) as connection:
        connection.putrequest("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/f")
        connection.putheader("Content-Length", str(8 << 20))
        connection.endheaders()
        connection.send(b"x" * (4 << 20))
        limit = time.monotonic() + 10
        while not list((tmp_path / "artifacts").rglob("*partial*")) and time.monotonic() < limit:
            time.sleep(0.01)
        server.kill()
    with connection_to(start_server(tmp_path).port) as connection:
        connection.request("GET", "/api/2.0/mlflow-artifacts/artifacts?path=0")
        assert json.loads(connection.getresponse().read()) == {"files": []}
