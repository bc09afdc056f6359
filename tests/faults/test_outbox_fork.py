"""Forked workers (a DataLoader's, a pool's) log to the run of the process they come from."""

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.client.outbox.leftovers import deliver_leftovers
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


# Workers that live longer than the run they were forked in, as those of a DataLoader may.
PERSISTENT = """
    import multiprocessing
    import lockgate

    def work(step):
        lockgate.log_metrics({f"w{number}": float(step) for number in range(50)}, step=step)
        return step

    lockgate.log_metric("parent", 0.0)
    lockgate.flush()
    pool = multiprocessing.get_context("fork").Pool(3)
    done = pool.map(work, range(200), chunksize=5)
    with lockgate.start_run():
        pass  # ends it
    with lockgate.start_run("second"):
        for start in range(200, 1200, 100):
            done += pool.map(work, range(start, start + 100), chunksize=5)
            lockgate.log_metric("parent", 1.0, step=start)
    pool.close()
    pool.join()
    assert sorted(done) == list(range(1200))
"""

# A child that was forked in the one moment in which another thread uses the project's records.
CUT_OFF = """
    import os, threading
    import lockgate
    from lockgate.training import _session
    lockgate.log_metric("parent", 1.0)
    lockgate.flush()
    database = _session.open().client.transport.context.database
    is_used, is_enough = threading.Event(), threading.Event()

    def use():
        with database.read():
            is_used.set()
            is_enough.wait()

    thread = threading.Thread(target=use)
    thread.start()
    is_used.wait()
    pid = os.fork()
    if pid == 0:
        lockgate.log_metric("child", 1.0)
        try:
            lockgate.flush()
        except lockgate.errors.InvalidInput as error:
            assert "was forked while another thread was using" in str(error), error
            if os.fork() == 0:  # what its parent must not open, it must not either
                lockgate.log_metric("grandchild", 1.0)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    is_enough.set()
    thread.join()
"""

# Two threads fork, and a third ends the run meanwhile.
AT_ONCE = """
    import os, threading, time
    os.register_at_fork(before=lambda: time.sleep(0.05))  # a large process takes its time
    import lockgate

    def forks():
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)

    with lockgate.start_run():
        lockgate.log_metric("parent", 0.0)
        threads = [threading.Thread(target=forks) for _ in range(2)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
"""


def script(folder: Path, code: str, *arguments: str) -> None:
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


def records(folder: Path) -> Client:
    return connect(Settings(), state=folder / ".lockgate", user="after", clock=SystemClock())


def run(folder: Path, code: str, *arguments: str) -> dict[str, list[int]]:
    """The steps of every metric of the one run that the script made."""
    script(folder, code, *arguments)
    assert list((folder / ".lockgate" / "outbox").iterdir()) == []
    with records(folder) as client:
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


def test_workers_that_outlive_their_run_lose_nothing_and_damage_nothing(tmp_path: Path) -> None:
    script(tmp_path, PERSISTENT)
    with records(tmp_path) as client:
        deliver_leftovers(tmp_path / ".lockgate" / "outbox", client.tracking, home=tmp_path / ".lockgate")
        runs = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        first = runs[-1].info.run_id
        for number in range(50):
            steps = sorted(item.step or 0 for item in client.tracking.metric_history(first, f"w{number}"))
            assert steps == list(range(1200))
        assert [run.info.status for run in runs] == ["FINISHED"] * 2
    with closing(sqlite3.connect(tmp_path / ".lockgate" / "lockgate.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_child_that_must_not_open_the_records_keeps_its_values_for_the_parent(tmp_path: Path) -> None:
    assert run(tmp_path, CUT_OFF) == {"parent": [0], "child": [0], "grandchild": [0]}


def test_threads_may_fork_while_another_ends_the_run(tmp_path: Path) -> None:
    assert run(tmp_path, AT_ONCE) == {"parent": [0]}


def test_parent_sends_what_a_killed_child_left(tmp_path: Path) -> None:
    assert run(tmp_path, ORPHAN) == {"parent": [0, 1], "child": [0]}


def test_children_that_do_not_log_disturb_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, MANY) == {"parent": list(range(30))}
