"""A disk that fills while a stage's outputs are stored: the error has its name, and what was there stays whole."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROJECT = """
model: m
task: regression
stages:
  small: {cmd: "echo small > small.txt", outs: [small.txt]}
  big: {cmd: "head -c 400000 /dev/urandom > big.bin", deps: [small.txt], outs: [big.bin]}
"""

RUN = """
    import sys
    from pathlib import Path
    from lockgate.clock import SystemClock
    from lockgate.errors import StorageFull
    from lockgate.pipelines.reporter import QuietReporter
    from lockgate.pipelines.run import run_pipeline
    from lockgate.project import load_project
    from lockgate.store.actions import Actions
    from lockgate.store.store import Store
    from lockgate.store.verify import verify
    from lockgate.pipelines.lock_file import read_lock
    folder = load_project(Path(sys.argv[1]))
    store = Store(folder.state / "store")
    options = dict(store=store, actions=Actions(store.root / "actions"), reporter=QuietReporter(), clock=SystemClock())
    try:
        run_pipeline(folder, **options)
    except StorageFull as error:
        assert "No space left" in str(error) and "lockgate gc" in str(error), error
    else:
        raise SystemExit("the disk did not fill")
    assert list(verify(store)) == []
    assert not list((store.root / "tmp").iterdir())
    assert set(read_lock(folder.root).stages) == {"small"}
    # Somebody makes room (here: the stage writes less), and the run goes on.
    path = folder.root / "lockgate.yaml"
    path.write_text(path.read_text().replace("400000", "4000"))
    outcome = run_pipeline(load_project(folder.root), **options)
    assert [stage.status for stage in outcome.stages] == ["cached", "ran"]
"""


def test_a_full_disk_stops_the_run_damages_nothing_and_is_forgotten_once_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text(PROJECT)
    device = tmp_path / "device"
    device.mkdir()
    script = 'mount -t tmpfs -o size=700k tmpfs "$1" || exit 77; cp "$2" "$1/lockgate.yaml"; exec "$3" -c "$4" "$1"'
    run = textwrap.dedent(RUN)
    done = subprocess.run(
        ["unshare", "-mr", "sh", "-c", script, "sh", device, tmp_path / "project.yaml", sys.executable, run],
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"this machine lets nobody mount a small device: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
