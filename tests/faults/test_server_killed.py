"""kill -9 of the server while it works: what it acknowledged is there afterwards, nothing half-done is."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.entities import Content, Release

SERVER = """
import sys, time
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread
server = serve_in_thread(make_app(open_context(Path(sys.argv[1]), user="server", clock=SystemClock())))
print(server.port, flush=True)
time.sleep(120)
"""


@contextmanager
def running(state: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(state)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def post(connection: http.client.HTTPConnection, path: str, value: dict[str, object]) -> dict[str, object]:
    connection.request("POST", path, body=json.dumps(value), headers={"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 200, body
    return body


@pytest.mark.parametrize("after_s", [0.15, 0.4])
def test_acknowledged_metrics_survive(tmp_path: Path, after_s: float) -> None:
    acknowledged: dict[int, int] = {}
    with running(tmp_path) as (process, port):
        first = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        run = post(first, "/api/2.0/mlflow/runs/create", {"experiment_id": "0"})["run"]
        run_id = run["info"]["run_id"]

        def work(worker: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                for step in range(100_000):
                    metric = {"run_id": run_id, "key": f"m{worker}", "value": step, "timestamp": step, "step": step}
                    post(connection, "/api/2.0/mlflow/runs/log-metric", metric)
                    acknowledged[worker] = step
            except (OSError, http.client.HTTPException):
                pass  # the server is gone, as it was meant to be
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(after_s)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
        first.close()
    assert acknowledged
    with connect(Settings(), state=tmp_path, user="after", clock=SystemClock()) as client:
        for worker, last in acknowledged.items():
            steps = [metric.step for metric in client.tracking.metric_history(run_id, f"m{worker}")]
            assert steps[: last + 1] == list(range(last + 1))
            assert len(steps) <= last + 2  # at most the one that was written and not yet acknowledged


def test_release_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    acknowledged = 0
    with running(tmp_path) as (process, port):
        killer = threading.Timer(0.5, os.kill, (process.pid, signal.SIGKILL))
        killer.start()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            while True:
                release = {
                    "model": "m",
                    "version": 0,
                    "content": {"kind": "tree", "digest": "a" * 64, "size_bytes": 1},
                    "run_id": "",
                    "created_at": 1,
                    "created_by": "a",
                    "flavor": "x",
                }
                answer = post(connection, "/api/lockgate/1/registry/create-release", {"release": release})
                acknowledged = answer["release"]["version"]
        except (OSError, http.client.HTTPException):
            connection.close()
        killer.join()
    assert acknowledged > 0
    with connect(Settings(), state=tmp_path, user="after", clock=SystemClock()) as client:
        releases = client.registry.list_releases("m", limit=100_000)
        newest = client.registry.get_model("m").latest_version
        assert newest in (acknowledged, acknowledged + 1)
        assert [release.version for release in releases] == list(range(newest, 0, -1))
        created = [event for event in all_events(client) if event.kind == "release.created"]
        assert len(created) == newest
        content = Content(kind="tree", digest="b" * 64, size_bytes=1)
        again = client.registry.create_release(
            Release(model="m", version=0, content=content, run_id="", created_at=1, created_by="a", flavor="x")
        )
        assert again.version == newest + 1


def all_events(client):
    found, after = [], 0
    while page := client.events.list_events(after=after, limit=1000):
        found += page
        after = page[-1].sequence
    return found


def test_upload_that_the_kill_cut_off_is_not_visible(tmp_path: Path) -> None:
    with running(tmp_path) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/f")
        connection.putheader("Content-Length", str(8 << 20))
        connection.endheaders()
        connection.send(b"x" * (4 << 20))
        limit = time.monotonic() + 10
        while not list((tmp_path / "artifacts").rglob("*partial*")) and time.monotonic() < limit:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        connection.close()
    with running(tmp_path) as (_, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/api/2.0/mlflow-artifacts/artifacts?path=0")
        assert json.loads(connection.getresponse().read()) == {"files": []}
        connection.close()
