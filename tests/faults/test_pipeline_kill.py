"""kill -9 of a real run at many moments: nothing recorded is lost, nothing half-done is visible, the next goes on."""

import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.clock import SystemClock
from lockgate.pipelines.lock_file import read_lock
from lockgate.pipelines.reporter import QuietReporter
from lockgate.pipelines.run import run_pipeline
from lockgate.project import Folder, load_project
from lockgate.store.actions import Actions
from lockgate.store.store import Store
from lockgate.store.verify import verify

STAGES = 5
RUN = """
import sys
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.pipelines.reporter import PlainReporter
from lockgate.pipelines.run import run_pipeline
from lockgate.project import load_project
from lockgate.store.actions import Actions
from lockgate.store.store import Store
folder = load_project(Path(sys.argv[1]))
store = Store(folder.state / "store")
run_pipeline(folder, store=store, actions=Actions(store.root / "actions"), reporter=PlainReporter(sys.stdout),
             clock=SystemClock())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A chain of stages, each with a file and a folder of files as outputs, each noting that it started and ended."""
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "0.txt").write_text("seed\n")
    stages = ""
    for i in range(1, STAGES + 1):
        command = (
            f"echo start {i} >> ran.log; mkdir -p o/{i}; "
            f"for n in $(seq 20); do echo $n-$(cat o/{i - 1}.txt) > o/{i}/$n; done; "
            f"sleep 0.02; (cat o/{i - 1}.txt; echo {i}) > o/{i}.txt; echo end {i} >> ran.log"
        )
        stages += f"  s{i}: {{cmd: '{command}', deps: [o/{i - 1}.txt], outs: [o/{i}.txt, o/{i}]}}\n"
    (tmp_path / "lockgate.yaml").write_text(f"model: m\ntask: regression\nstages:\n{stages}")
    return load_project(tmp_path)


def start(folder: Folder) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), str(folder.root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def kill_when(process: "subprocess.Popen[bytes]", happened: Callable[[], bool]) -> bool:
    """Kill as soon as something is seen; False where the run ended before."""
    while process.poll() is None:
        if happened():
            process.kill()
            break
    return process.wait() == -signal.SIGKILL


def log(folder: Folder) -> list[str]:
    path = folder.root / "ran.log"
    return path.read_text().splitlines() if path.exists() else []


def finish(folder: Folder) -> None:
    store = Store(folder.state / "store")
    actions = Actions(store.root / "actions")
    run_pipeline(folder, store=store, actions=actions, reporter=QuietReporter(), clock=SystemClock())


def check(folder: Folder, recorded: set[str], before: list[str]) -> None:
    """After the last run all is there, and no stage that was recorded ran again."""
    assert list(verify(Store(folder.state / "store"))) == []
    expected = "seed\n"
    for i in range(1, STAGES + 1):
        assert len(list((folder.root / "o" / str(i)).iterdir())) == 20
        expected += f"{i}\n"
        assert (folder.root / "o" / f"{i}.txt").read_text() == expected
    again = {f"s{line.split()[1]}" for line in log(folder)[len(before) :] if line.startswith("start")}
    assert again.isdisjoint(recorded)
    assert set(read_lock(folder.root).stages) == {f"s{i}" for i in range(1, STAGES + 1)}
    assert not [path for path in folder.root.rglob(".lockgate-*") if folder.state not in path.parents]


def any_file(path: Path, pattern: str) -> bool:
    return next(path.glob(pattern), None) is not None


MOMENTS: dict[str, Callable[[Folder], bool]] = {
    "the lock is taken": lambda f: (f.state / "run.lock").exists(),
    "a stage is noted": lambda f: any_file(f.state / "tmp" / "stages", "*.pid"),
    "a stage writes": lambda f: (f.root / "o" / "1" / "7").exists(),
    "a stage has ended": lambda f: "end 1" in log(f),
    "an object is being written": lambda f: any_file(f.state / "store" / "tmp", "*"),
    "an object is stored": lambda f: any_file(f.state / "store" / "files", "*/*"),
    "a tree is stored": lambda f: any_file(f.state / "store" / "trees", "*/*"),
    "a result is known": lambda f: any_file(f.state / "store" / "actions", "*/[0-9a-f]*"),
    "the lock file is there": lambda f: (f.root / "lockgate.lock").exists(),
    "the third stage starts": lambda f: "start 3" in log(f),
    "the last stage ends": lambda f: f"end {STAGES}" in log(f),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_goes_on_where_it_was(folder: Folder, moment: str) -> None:
    with start(folder) as process:
        kill_when(process, lambda: MOMENTS[moment](folder))
    recorded = set(read_lock(folder.root).stages)
    before = log(folder)
    finish(folder)
    check(folder, recorded, before)


def test_a_run_that_is_killed_again_and_again_still_ends(folder: Folder) -> None:
    for i in range(8):
        until = time.monotonic() + 0.12 + 0.04 * i
        with start(folder) as process:
            killed = kill_when(process, lambda until=until: time.monotonic() > until)
        if not killed:
            break
    recorded = set(read_lock(folder.root).stages)
    before = log(folder)
    finish(folder)
    check(folder, recorded, before)


def test_a_stage_that_outlives_its_killed_run_does_not_write_into_the_next(tmp_path: Path) -> None:
    command = "echo x >> started; i=0; while [ $i -lt 300 ]; do sleep 0.01; echo tick >> out.txt; i=$((i+1)); done"
    quick = "echo good > out.txt"
    text = "model: m\ntask: regression\nstages: {{s: {{cmd: '{}', outs: [out.txt]}}}}\n"
    (tmp_path / "lockgate.yaml").write_text(text.format(command))
    folder = load_project(tmp_path)
    with start(folder) as process:
        kill_when(process, lambda: (tmp_path / "out.txt").exists())
    (tmp_path / "lockgate.yaml").write_text(text.format(quick))
    finish(load_project(tmp_path))
    time.sleep(0.1)
    assert (tmp_path / "out.txt").read_text() == "good\n"


def test_of_many_runs_at_once_one_works_and_the_others_are_refused(folder: Folder) -> None:
    processes = [start(folder) for _ in range(3)]
    codes = Counter()
    for process in processes:
        _, errors = process.communicate()
        refused = b"Unavailable" in errors and b"another run works on this project: process" in errors
        codes["refused" if refused else process.returncode] += 1
    assert codes[0] >= 1
    assert codes[0] + codes["refused"] == 3
    starts = Counter(line for line in log(folder) if line.startswith("start"))
    assert set(starts.values()) == {1}
    check(folder, set(), [])
