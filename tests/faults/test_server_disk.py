"""A disk is full, the server's or its database's: 507 and why, nothing half-written, and reading goes on."""

import http.client
import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
# Leaves a project whose server was stopped, and not a byte to write.
FULL = """
    import sys
    from pathlib import Path
    from lockgate.metadata.schema import open_database
    disk = Path(sys.argv[1])
    (disk / "lockgate.yaml").write_text("model: m\\ntask: regression\\n")
    open_database(disk / ".lockgate" / "lockgate.db").close()
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass
"""
# The folder `small` is a disk that only this PostgreSQL sees. Root, who mounts it, could not start PostgreSQL.
SMALL_DISK = 'mkdir -p small && mount -t tmpfs -o size=16m tmpfs small && exec unshare -U --map-user=65534 "$@"'
WITHIN_SMALL_DISK = ("unshare", "-mr", "sh", "-c", SMALL_DISK, "sh")


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


@pytest.fixture
def small_postgres(make_postgres: Callable[..., Any]) -> Any:
    """A PostgreSQL that has the database `records` on a disk of 16 MB, and its log elsewhere."""
    postgres = make_postgres(within=WITHIN_SMALL_DISK)
    if subprocess.run([*WITHIN_SMALL_DISK, "true"], capture_output=True, check=False, **postgres.as_user()).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    postgres.start()
    postgres.execute("ALTER SYSTEM SET autovacuum = off")  # after it a new connection writes a file, or is refused
    postgres.execute("SELECT pg_reload_conf()")
    postgres.execute(f"CREATE TABLESPACE small LOCATION '{postgres.folder}/small'")
    postgres.execute("CREATE DATABASE records TABLESPACE small")
    return postgres


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


def create_run(port: int) -> str:
    _, created = ask(port, "POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}')
    return created["run"]["info"]["run_id"]  # type: ignore[index]  # JSON


def fill(port: int, run_id: str) -> tuple[int, dict[str, object]]:
    """Log until it is refused; how many metrics are kept, and the refusal."""
    kept = 0
    status, body = log_batch(port, run_id, kept)
    while status == 200:
        kept += 1000
        assert kept < 100_000, "the disk is not small"
        status, body = log_batch(port, run_id, kept)
    assert (status, body["error_code"]) == (507, "RESOURCE_EXHAUSTED")
    assert kept > 0
    assert count(port, run_id) == kept  # all that was acknowledged, and no half batch
    return kept, body


def test_writes_are_refused_in_plain_words_while_reading_goes_on(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    run_id = create_run(port)
    kept, body = fill(port, run_id)
    assert body["message"] == "the disk is full: nothing of this was recorded."
    assert body["hint"] == "free some space, then repeat"
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


@pytest.mark.parametrize("command", ["server", "runs", "gc", "doctor"])
def test_command_on_a_full_disk_asks_for_space_and_for_no_copy(tmp_path: Path, command: str) -> None:
    script = 'mount -t tmpfs -o size=4m tmpfs "$1" || exit 77; "$2" -c "$3" "$1" && exec "$2" -m lockgate -C "$1" "$4"'
    done = subprocess.run(
        ["unshare", "-mr", "sh", "-c", script, "sh", tmp_path, sys.executable, textwrap.dedent(FULL), command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("mounting a small disk is not allowed here")
    said = done.stdout + done.stderr
    assert done.returncode == (2 if command == "doctor" else 5), said
    assert "the disk is full: the metadata database cannot be read." in said
    assert "next: free some space, then repeat" in said
    assert "copy" not in said


def test_full_disk_of_postgresql_is_told_and_work_goes_on_when_there_is_space(
    tmp_path: Path, start_server: Callable[..., Any], small_postgres: Any
) -> None:
    port = start_server(tmp_path, small_postgres.url("records")).port
    run_id = create_run(port)
    small_postgres.execute("CREATE TABLE ballast AS SELECT generate_series(1, 30000)", database="records")  # a megabyte
    kept, body = fill(port, run_id)
    assert body["message"] == "the database's disk is full: nothing of this was recorded."
    assert body["hint"] == "free some space there"

    small_postgres.execute("DROP TABLE ballast", database="records")
    assert log_batch(port, run_id, kept) == (200, {})
    assert count(port, run_id) == kept + 1000
