"""Forked workers (a DataLoader's, a pool's) log to the run of the process they come from."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect

WORKERS = """
    import multiprocessing, os, sys
    import lockgate

    def work(number):
        for step in range(300):
            lockgate.log_metric(f"worker{number}", float(step), step=step)
        if sys.argv[1] == "flush":
            lockgate.flush()

    lockgate.log_metric("before", 1.0)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
        for step in range(300):  # the parent is in the middle of sending when the next worker is forked
            lockgate.log_metric("parent", float(step), step=step + 300 * worker._identity[0])
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0, worker.exitcode
    lockgate.log_metric("after", 1.0)
"""

ORPHAN = """
    import os, signal
    import lockgate
    lockgate.log_metric("parent", 1.0)
    pid = os.fork()
    if pid == 0:
        lockgate.log_metric("child", 1.0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    lockgate.log_metric("parent", 2.0, step=1)
"""

MANY = """
    import os
    import lockgate
    for number in range(30):
        lockgate.log_metric("parent", float(number), step=number)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""


def run(folder: Path, code: str, *arguments: str) -> dict[str, list[int]]:
    """The steps of every metric of the one run that the script made."""
    (folder / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if not key.startswith(("LOCKGATE_", "MLFLOW_"))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((folder / ".lockgate" / "outbox").iterdir()) == []
    with connect(Settings(), state=folder / ".lockgate", user="after", clock=SystemClock()) as client:
        (found,) = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert found.info.status == "FINISHED"
        histories = {
            item.key: client.tracking.metric_history(found.info.run_id, item.key) for item in found.data.metrics
        }
    return {key: sorted(item.step or 0 for item in history) for key, history in histories.items()}


@pytest.mark.parametrize("end", ["flush", "silent"])
def test_workers_and_parent_lose_nothing(tmp_path: Path, end: str) -> None:
    found = run(tmp_path, WORKERS, end)
    assert found.pop("before") == found.pop("after") == [0]
    assert found.pop("parent") == list(range(300, 1500))
    assert found == {f"worker{number}": list(range(300)) for number in range(4)}


def test_parent_sends_what_a_killed_child_left(tmp_path: Path) -> None:
    assert run(tmp_path, ORPHAN) == {"parent": [0, 1], "child": [0]}


def test_children_that_do_not_log_disturb_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, MANY) == {"parent": list(range(30))}
