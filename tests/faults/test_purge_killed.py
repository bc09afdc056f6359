"""kill -9 while runs are deleted for good: no run is left without its files, and no files are left for ever."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from lockgate.client.client import Client
from lockgate.clock import FakeClock, SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.errors import NotFound
from lockgate.wire.mlflow import runs

RUNS = 150
PURGE = """
import sys
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
with connect(Settings(database=sys.argv[2]), state=Path(sys.argv[1]), user="ann", clock=SystemClock()) as client:
    print("ready", flush=True)
    client.tracking.purge(before_ms=2**62)
"""


def is_there(client: Client, run_id: str) -> bool:
    try:
        client.tracking.get_run(run_id)
    except NotFound:
        return False
    return True


def test_purge_that_was_killed_is_finished_by_the_next_one(tmp_path: Path, database_setting: str) -> None:
    settings = Settings(database=database_setting)
    state = tmp_path / "state"
    (tmp_path / "f.txt").write_text("x")
    with connect(settings, state=state, user="ann", clock=FakeClock()) as client:
        run_ids = [client.tracking.create_run("0", run_name=f"r{i}") for i in range(RUNS)]
        for run_id in run_ids:
            client.tracking.upload_artifact(run_id, tmp_path / "f.txt")
            client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
    folders = {run_id: state / "artifacts" / "0" / run_id for run_id in run_ids}
    command = [sys.executable, "-c", PURGE, str(state), database_setting]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while process.poll() is None and sum(folder.exists() for folder in folders.values()) > RUNS - 20:
        pass  # until it is in the middle of deleting folders
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with connect(settings, state=state, user="ann", clock=SystemClock()) as client:
        left = [run_id for run_id in run_ids if is_there(client, run_id)]
        assert left, "the kill came too late to mean anything"
        assert [run_id for run_id in left if not (folders[run_id] / "artifacts" / "f.txt").exists()] == []
        client.tracking.purge(before_ms=2**62)
        assert [run_id for run_id in run_ids if is_there(client, run_id)] == []
    assert [run_id for run_id, folder in folders.items() if folder.exists()] == []
