"""A project whose records are in PostgreSQL: the server, the command line and a client of its own see the same."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect


@pytest.fixture
def environ(postgres_url: str) -> dict[str, str]:
    return {**os.environ, "LOCKGATE_DATABASE": "env:PLACE", "PLACE": postgres_url}


def lockgate(root: Path, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lockgate", "-C", str(root), *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_server_and_commands_share_the_database(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: regression\n")
    server = subprocess.Popen(
        [sys.executable, "-m", "lockgate", "-C", str(tmp_path), "server", "--port", "0"],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        url = server.stdout.readline().removeprefix("listening on ").strip()
        body = json.dumps({"experiment_id": "0", "run_name": "first"}).encode()
        request = urllib.request.Request(
            f"{url}/api/2.0/mlflow/runs/create", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            run_id = json.loads(answer.read())["run"]["info"]["run_id"]
        with connect(
            Settings(database="env:PLACE"), state=tmp_path / "x", user="a", clock=SystemClock(), environ=environ
        ) as client:
            assert client.tracking.get_run(run_id).info.run_name == "first"
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
    shown = lockgate(tmp_path, environ, "models", "--json")
    assert (shown.returncode, json.loads(shown.stdout)) == (0, [])
    migrated = lockgate(tmp_path, environ, "migrate")
    assert (migrated.returncode, "nothing to do" in migrated.stdout) == (0, True)
    assert not list(tmp_path.rglob("lockgate.db*"))


def test_address_of_nothing_is_one_line_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: regression\n")
    environ = {**os.environ, "LOCKGATE_DATABASE": "postgresql://ann:secret@127.0.0.1:1/records"}
    done = lockgate(tmp_path, environ, "models")
    assert done.returncode == 5
    assert "postgresql://ann:***@127.0.0.1:1/records cannot be used" in done.stderr
    assert "secret" not in done.stderr + done.stdout
    shown = lockgate(tmp_path, environ, "config")
    assert "postgresql://ann:***@" in shown.stdout
    assert "secret" not in shown.stdout
    environ["LOCKGATE_DATABASE"] = "mysql://ann:secret@127.0.0.1/records"
    done = lockgate(tmp_path, environ, "models")
    assert (done.returncode, "expected postgresql://" in done.stderr) == (2, True)
