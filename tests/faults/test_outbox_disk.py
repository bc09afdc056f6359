"""A disk that is full: the caller is told at the line where nothing could be kept, and what was kept arrives."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Limits of the process on the size of a file stand for a full disk: EFBIG is answered like ENOSPC.
LIMITED = """
    import resource
    import lockgate
    from lockgate.errors import StorageFull
    lockgate.log_metric("before", 1.0)
    lockgate.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    with lockgate.start_run():
        pass  # ends the run that was open
    try:
        lockgate.log_metric("m", 1.0)
    except StorageFull as error:
        print("told:", error.message)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    lockgate.log_metric("after", 1.0)
    lockgate.flush()
    print("goes on")
"""

# The disk has room for the outbox's first file and not for the next one; it is the server that makes room.
TMPFS = """
    import sys, random, threading
    from pathlib import Path
    from lockgate.client.outbox.batch import Metrics
    from lockgate.client.outbox.outbox import Outbox
    from lockgate.client.outbox.segment import Header
    from lockgate.client.client import Client
    from lockgate.clock import SystemClock
    from lockgate.config import Settings
    from lockgate.connect import connect
    disk, state = Path(sys.argv[1]), Path(sys.argv[2])
    with connect(Settings(), state=state, user="ann", clock=SystemClock()) as client:
        run_id = client.tracking.create_run("0")
        outbox = Outbox(disk / "outbox", Header(run_id, ""), client.tracking, limit_bytes=1 << 20, clock=SystemClock(),
                        rng=random.Random(0))
        for step in range(60_000):
            outbox.append(Metrics(1, step, {"a_metric_with_a_name": 1.0}))
        outbox.flush(60)
        assert len(client.tracking.metric_history(run_id, "a_metric_with_a_name")) == 60_000
        outbox.close(10)
    assert list((disk / "outbox").iterdir()) == []
"""


# Every file that the process may open is open, so the outbox's next one can only take the place of one that was sent.
CROWDED = """
    import resource
    import lockgate
    lockgate.log_metric("m", 1.0, step=0)
    lockgate.flush()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = []
    try:
        while True:
            held.append(open("/dev/null"))
    except OSError:
        pass
    for step in range(1, 50_000):
        lockgate.log_metric("m", 1.0, step=step)
    lockgate.flush()
    print("goes on")
"""


def test_process_that_may_open_no_further_file_slows_down_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CROWDED)],
        cwd=tmp_path,
        env={**os.environ, "LOCKGATE_OUTBOX_MB": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "goes on\n", done.stderr
    assert "Too many open files" in done.stderr


def test_caller_is_told_and_the_script_goes_on_when_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told, goes_on = done.stdout.splitlines()
    assert told.startswith("told: ")
    assert "outbox could not be written: File too large" in told
    assert goes_on == "goes on"


@pytest.mark.parametrize("size", ["600k", "400k"])  # room for two files, or for one alone
def test_small_disk_slows_the_caller_down_and_loses_nothing(tmp_path: Path, size: str) -> None:
    disk, state = tmp_path / "disk", tmp_path / "state"
    disk.mkdir()
    script = f'mount -t tmpfs -o size={size} tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1" "$4"'
    done = subprocess.run(
        ["unshare", "-mr", "sh", "-c", script, "sh", disk, sys.executable, textwrap.dedent(TMPFS), state],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("mounting a small disk is not allowed here")
    assert done.returncode == 0, done.stderr
    assert "the disk of" in done.stderr
    assert done.stderr.count("logging waits") == 1
