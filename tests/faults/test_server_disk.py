"""A server whose disk is full: 507 and a message that says so, nothing half-written, and reading goes on."""

import http.client
import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = """
    import os, signal, sys, time
    from pathlib import Path
    from lockgate.clock import SystemClock
    from lockgate.server.app import make_app
    from lockgate.server.context import open_context
    from lockgate.server.run import serve_in_thread
    disk = Path(sys.argv[1])
    server = serve_in_thread(make_app(open_context(disk / "state", user="server", clock=SystemClock())))
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    signal.signal(signal.SIGUSR1, lambda *_: ballast.unlink())
    print(server.port, flush=True)
    while True:
        signal.pause()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server on a disk of 4 MB, of which SIGUSR1 frees one."""
    script = 'mount -t tmpfs -o size=4m tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    process = subprocess.Popen(
        ["unshare", "-mr", "sh", "-c", script, "sh", tmp_path, sys.executable, textwrap.dedent(SERVER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait()
        process.stdout.close()
        pytest.skip("mounting a small disk is not allowed here")
    yield process, int(line)
    process.kill()
    process.wait()
    process.stdout.close()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def log_batch(port: int, run_id: str, start: int) -> tuple[int, dict[str, object]]:
    metrics = [{"key": "loss", "value": 0.5, "timestamp": step, "step": step} for step in range(start, start + 1000)]
    return ask(
        port, "POST", "/api/2.0/mlflow/runs/log-batch", json.dumps({"run_id": run_id, "metrics": metrics}).encode()
    )


def count(port: int, run_id: str) -> int:
    path = f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=loss"
    status, body = ask(port, "GET", path)
    assert status == 200, body
    metrics = body["metrics"]
    assert isinstance(metrics, list)
    return len(metrics)


def test_writes_are_refused_in_plain_words_while_reading_goes_on(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    _, created = ask(port, "POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}')
    run_id = created["run"]["info"]["run_id"]  # type: ignore[index]  # JSON
    kept = 0
    for _ in range(100):
        status, body = log_batch(port, run_id, kept)
        if status != 200:
            break
        kept += 1000
    assert (status, body["error_code"]) == (507, "RESOURCE_EXHAUSTED")
    assert body["message"] == "the disk is full: nothing of this was recorded."
    assert body["hint"] == "free some space, then repeat"
    assert kept > 0
    assert count(port, run_id) == kept  # all that was acknowledged, and no half batch
    status, body = ask(port, "PUT", "/api/2.0/mlflow-artifacts/artifacts/0/a.bin", bytes(4 << 20))
    assert (status, body["error_code"]) == (507, "RESOURCE_EXHAUSTED")
    status, listed = ask(port, "GET", "/api/2.0/mlflow-artifacts/artifacts?path=0")
    assert (status, listed.get("files", [])) == (200, [])

    process.send_signal(signal.SIGUSR1)
    status, body = log_batch(port, run_id, kept)
    while status != 200:  # until the signal has been heard
        assert status == 507, body
        status, body = log_batch(port, run_id, kept)
    assert count(port, run_id) == kept + 1000
