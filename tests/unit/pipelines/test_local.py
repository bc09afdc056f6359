import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lockgate.clock import SystemClock
from lockgate.pipelines.local import Exit, LocalExecutor


@pytest.fixture
def executor(tmp_path: Path) -> LocalExecutor:
    return LocalExecutor(tmp_path / "notes", clock=SystemClock(), grace_s=0.3)


class Run:
    def __init__(self, executor: LocalExecutor, tmp_path: Path) -> None:
        self.executor, self.log, self.lines, self.cwd = executor, tmp_path / "log", list[str](), tmp_path

    def __call__(self, *commands: str, timeout_s: float | None = None) -> Exit:
        return self.executor.run(
            "s",
            commands,
            cwd=self.cwd,
            env=dict(os.environ),
            timeout_s=timeout_s,
            log=self.log,
            on_line=self.lines.append,
        )


@pytest.fixture
def run(executor: LocalExecutor, tmp_path: Path) -> Run:
    return Run(executor, tmp_path)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Whether a process that was killed is gone, soon: the kernel does it when it gets to it."""
    for _ in range(300):
        if not is_running(pid):
            return True
        time.sleep(0.01)
    return False


def wait_for(path: Path) -> str:
    for _ in range(500):
        if path.exists() and path.read_text().strip():
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} was never written")


def test_output_comes_by_lines_as_a_terminal_would_show_them(run: Run) -> None:
    ended = run("printf 'one\\ntwo' ; printf ' more\\n10%%\\r20%%\\rdone\\n\\nlast' >&2")
    assert ended == Exit(returncode=0, tail=("one", "two more", "done", "", "last"))
    assert run.lines == list(ended.tail)
    assert run.log.read_bytes() == b"one\ntwo more\n10%\r20%\rdone\n\nlast"


def test_lines_come_while_the_command_runs(run: Run, tmp_path: Path) -> None:
    thread = threading.Thread(target=run, args=(f"echo first; until [ -e {tmp_path}/go ]; do sleep 0.01; done",))
    thread.start()
    for _ in range(500):
        if run.lines:
            break
        time.sleep(0.01)
    assert run.lines == ["first"]
    (tmp_path / "go").touch()
    thread.join()


def test_a_lot_of_output_without_a_line_end_is_cut_and_bytes_that_are_no_text_are_shown(run: Run) -> None:
    run("head -c 300000 /dev/zero | tr '\\0' x; printf '\\n\\377\\n'")
    assert max(map(len, run.lines)) < 140_000
    assert sum(map(len, run.lines[:-1])) == 300_000
    assert run.lines[-1] == "�"


def test_commands_stop_at_the_first_that_fails(run: Run) -> None:
    assert run("echo a", "exit 3", "echo b") == Exit(returncode=3, tail=("a",))


def test_a_signal_is_told(run: Run) -> None:
    assert run("kill -9 $$").returncode == -9


def test_a_timeout_ends_the_whole_group(run: Run, tmp_path: Path) -> None:
    ended = run(f"sleep 60 & echo $! > {tmp_path}/pid; wait", timeout_s=0.2)
    assert ended.timed_out
    assert ends(int((tmp_path / "pid").read_text()))


def test_what_ignores_a_polite_request_is_killed(run: Run) -> None:
    started = time.monotonic()
    ended = run("trap '' TERM; while :; do sleep 0.05; done", timeout_s=0.2)
    assert (ended.timed_out, ended.returncode) == (True, -signal.SIGKILL)
    assert time.monotonic() - started < 5


def test_what_a_stage_leaves_in_the_background_ends_with_it(run: Run, tmp_path: Path) -> None:
    assert run(f"sleep 60 & echo $! > {tmp_path}/pid").returncode == 0
    assert ends(int((tmp_path / "pid").read_text()))


def test_stop_ends_running_stages_and_lets_no_other_start(run: Run, executor: LocalExecutor, tmp_path: Path) -> None:
    found: list[Exit] = []
    thread = threading.Thread(target=lambda: found.append(run(f"echo x > {tmp_path}/started; sleep 60")))
    thread.start()
    wait_for(tmp_path / "started")
    executor.stop()
    thread.join()
    assert found[0].stopped
    assert run(f"touch {tmp_path}/never").stopped
    assert not (tmp_path / "never").exists()


def test_a_stage_cannot_wait_for_a_keyboard(run: Run) -> None:
    assert run("cat; echo end").tail == ("end",)


def test_a_folder_that_is_not_there_cannot_be_worked_in(run: Run, tmp_path: Path) -> None:
    run.cwd = tmp_path / "none"
    with pytest.raises(OSError):
        run("true")


def test_orphans_of_a_killed_run_are_stopped(executor: LocalExecutor, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
import os
from lockgate.clock import SystemClock
from lockgate.pipelines.local import LocalExecutor
LocalExecutor(Path({str(tmp_path / "notes")!r}), clock=SystemClock()).run(
    "train", ["echo $$ > pid; sleep 60"], cwd=Path({str(tmp_path)!r}), env=dict(os.environ), timeout_s=None,
    log=Path({str(tmp_path / "log")!r}), on_line=print)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        pid = int(wait_for(tmp_path / "pid"))
        wait_for(tmp_path / "notes" / "train.pid")
        process.kill()
    assert is_running(pid)
    assert executor.stop_orphans() == ["train"]
    assert ends(pid)
    assert executor.stop_orphans() == []


def test_a_process_that_only_has_the_same_number_is_left_alone(executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with subprocess.Popen(["sleep", "60"], process_group=0) as other:
        (tmp_path / "notes" / "s.pid").write_text(f"{other.pid}\n")
        assert executor.stop_orphans() == []
        assert other.poll() is None
        other.kill()
