"""kill -9 of a script while it logs: what a log call had returned for is in the records afterwards, once."""

import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.client.outbox.leftovers import deliver_leftovers
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect

LIMIT_S = 90.0

# Says how many calls have returned in a map that survives it.
SCRIPT = """
import mmap, sys
import lockgate
with open(sys.argv[1], "r+b") as file:
    returned = mmap.mmap(file.fileno(), 8)
lockgate.set_tag("started", "yes")
for step in range(10**9):
    lockgate.log_metrics({"loss": step / 2, "auc": 1.0}, step=step)
    returned[:] = (step + 1).to_bytes(8, "little")  # in one piece, so that a kill leaves a count
"""


class Script:
    """A running script that logs in `project`."""

    def __init__(self, project: Path, **environ: str) -> None:
        self._calls = project / "calls"
        self._calls.write_bytes(bytes(8))
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("LOCKGATE_", "MLFLOW_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(self._calls)],
            cwd=project,
            env={**clean, **environ},
        )

    def kill_after(self, calls: int) -> int:
        """kill -9 once so many calls have returned; how many had."""
        with self._calls.open("r+b") as file, mmap.mmap(file.fileno(), 8) as returned:
            deadline = time.monotonic() + LIMIT_S
            while int.from_bytes(returned[:8], "little") < calls:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.001)
            self.kill()
            return int.from_bytes(returned[:8], "little")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    return tmp_path


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., Script]]:
    started: list[Script] = []

    def begin(**environ: str) -> Script:
        started.append(Script(project, **environ))
        return started[-1]

    yield begin
    for script in started:
        script.kill()


@contextmanager
def records(project: Path) -> Iterator[Client]:
    with connect(Settings(), state=project / ".lockgate", user="after", clock=SystemClock()) as client:
        yield client


def require_all(client: Client, run_id: str, returned: int) -> None:
    for key in ("loss", "auc"):
        steps = sorted(item.step or 0 for item in client.tracking.metric_history(run_id, key))
        assert steps == list(range(len(steps)))  # none missing, none twice
        assert returned <= len(steps) <= returned + 1  # at most the call that had not returned yet


@pytest.mark.parametrize("seed", range(4))
def test_every_value_whose_call_returned_is_there_once(project: Path, start, seed: int) -> None:
    returned = start().kill_after(random.Random(seed).randrange(1, 30_000))
    with records(project) as client:
        assert (
            deliver_leftovers(project / ".lockgate" / "outbox", client.tracking, home=project / ".lockgate").kept == []
        )
        (run,) = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        require_all(client, run.info.run_id, returned)
        assert {item.key: item.value for item in run.data.tags}["started"] == "yes"
    assert list((project / ".lockgate" / "outbox").glob("*.segment")) == []


def test_next_script_of_the_project_sends_what_a_killed_one_left(project: Path, start) -> None:
    returned = [start().kill_after(calls) for calls in (500, 20_000)]
    subprocess.run([sys.executable, "-c", "import lockgate; lockgate.log_metric('m', 1.0)"], cwd=project, check=True)
    with records(project) as client:
        runs = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert len(runs) == 3
        for run, count in zip(reversed(runs[1:]), returned, strict=True):
            require_all(client, run.info.run_id, count)
    assert list((project / ".lockgate" / "outbox").iterdir()) == []


def test_killed_while_its_server_was_away(project: Path, start, tmp_path: Path) -> None:
    with records(project) as client:
        run_id = client.tracking.create_run("0")
    away = start(LOCKGATE_URI="http://127.0.0.1:9", LOCKGATE_RUN_ID=run_id)
    returned = away.kill_after(2000)
    flushed = subprocess.run(
        [sys.executable, "-m", "lockgate", "-C", str(project), "runs", "flush"],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "home")},
    )
    assert flushed.returncode == 0, flushed.stderr
    assert flushed.stdout == "1 sent, 0 kept, 0 refused.\n"
    with records(project) as client:
        require_all(client, run_id, returned)


def test_stage_that_is_killed_has_logged_all_the_same(project: Path) -> None:
    stage = (
        "import lockgate, os\n"
        "for step in range(3000): lockgate.log_metrics({'loss': step / 2, 'auc': 1.0}, step=step)\n"
        f"os.kill(os.getpid(), {signal.SIGKILL})\n"
    )
    (project / "train.py").write_text(stage)
    with (project / "lockgate.yaml").open("a") as file:
        file.write(f"stages:\n  train: {{cmd: {sys.executable} train.py, deps: [train.py]}}\n")
    done = subprocess.run([sys.executable, "-m", "lockgate", "-C", str(project), "run"], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    with records(project) as client:
        (run,) = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert run.info.status == "FAILED"
        require_all(client, run.info.run_id, 3000)
