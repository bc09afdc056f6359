"""Commands of a stage on this machine: each stage its own process group, so that nothing of it outlives it.

    start -> read lines until the process ends -> kill what it left behind
               |-- deadline or stop: TERM to the group, KILL when it does not go

The group's id is written down while it runs. A run that is killed itself cannot stop its stages; the next run finds
these notes and does, before it starts stages that would write the same files.
"""

import os
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from lockgate.clock import Clock
from lockgate.entities import Record

TAIL_LINES = 20
GRACE_S = 5.0
_LONGEST_LINE = 1 << 16
_MARK = "LOCKGATE_STAGE"
# The shell writes down its own id before it becomes the command, so that there is no moment at which the command runs
# and nobody could find it. Without the note (a full disk) only the cleaning up after a kill is lost.
_NOTED = '{ echo "$$" > "$0"; } 2>/dev/null; exec /bin/sh -c "$1"'
# Where the kernel cannot tell us that a process ended (no pidfd), we look this often.
_POLL_S = 0.05
_TRIES = 10


class Exit(Record, frozen=True, kw_only=True):
    """How the commands of a stage ended; `returncode` as of subprocess, negative for a signal."""

    returncode: int
    tail: tuple[str, ...]
    timed_out: bool = False
    stopped: bool = False


class LocalExecutor:
    """Runs stages of one project; `stop` ends them all and lets no other start."""

    def __init__(self, notes: Path, *, clock: Clock, grace_s: float = GRACE_S) -> None:
        self._notes = notes
        self._clock = clock
        self._grace_s = grace_s
        self._lock = Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.is_stopped = False

    def run(
        self,
        stage: str,
        commands: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        timeout_s: float | None,
        log: Path,
        on_line: Callable[[str], None],
    ) -> Exit:
        """Run shell commands one after the other until one fails; their output goes to `log` and, by lines, to
        `on_line`. Raises OSError where a process cannot be started."""
        deadline = None if timeout_s is None else self._clock.monotonic() + timeout_s
        log.parent.mkdir(parents=True, exist_ok=True)
        tail: deque[str] = deque(maxlen=TAIL_LINES)

        def heard(line: str) -> None:
            tail.append(line)
            on_line(line)

        with log.open("wb") as file:
            for command in commands:
                process = self._start(stage, command, cwd=cwd, env=env)
                if process is None:
                    return Exit(returncode=-signal.SIGTERM, tail=tuple(tail), stopped=True)
                try:
                    timed_out = self._follow(process, file, heard, deadline)
                finally:
                    self._end(stage, process)
                if process.returncode != 0 or timed_out:
                    return Exit(
                        returncode=process.returncode, tail=tuple(tail), timed_out=timed_out, stopped=self.is_stopped
                    )
        return Exit(returncode=0, tail=tuple(tail))

    def stop(self) -> None:
        """Ask every running stage to end; those that do not are killed by the thread that follows them."""
        with self._lock:
            self.is_stopped = True
            for process in self._running.values():
                _signal_group(process.pid, signal.SIGTERM)

    def stop_orphans(self) -> list[str]:
        """Kill the stages that a killed run left behind; their names. Only for the holder of the run lock."""
        found = []
        for note in sorted(self._notes.glob("*.pid")):
            pid = note.read_text().strip()
            if pid.isdigit() and self._is_stage(int(pid), note.stem) and _signal_group(int(pid), signal.SIGKILL):
                found.append(note.stem)
                self._wait_for_group(int(pid))
            note.unlink(missing_ok=True)
        return found

    def _is_stage(self, pid: int, stage: str) -> bool:
        """Whether a process is still the stage that the note means: its id may have been given to another one.

        A group whose leader has ended keeps its id, so where there is no process of that id its group is the stage's.
        """
        for _ in range(_TRIES):
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                if environment:
                    return f"{_MARK}={stage}".encode() in environment.split(b"\0")
                if _has_ended(Path(f"/proc/{pid}/stat").read_bytes()):
                    return True
            except OSError:
                return True
            self._clock.sleep(_POLL_S)  # it has none for the moment in which it becomes another program
        return True  # of another program without any: a stage may be `env -i ...`

    def _wait_for_group(self, pid: int) -> None:
        """Until nothing of a killed group is left: what it was just writing would lie in the next stage's way."""
        deadline = self._clock.monotonic() + self._grace_s
        while _signal_group(pid, 0) and self._clock.monotonic() < deadline:
            self._clock.sleep(_POLL_S)

    def _start(self, stage: str, command: str, *, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
        with self._lock:  # a stop that comes now must see the process
            if self.is_stopped:
                return None
            with suppress(OSError):
                self._notes.mkdir(parents=True, exist_ok=True)
            process = subprocess.Popen(
                ["/bin/sh", "-c", _NOTED, str(self._notes / f"{stage}.pid"), command],
                cwd=cwd,
                env={**env, _MARK: stage},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            self._running[stage] = process
        return process

    def _end(self, stage: str, process: subprocess.Popen[bytes]) -> None:
        if process.returncode is None:  # we were interrupted ourselves
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        with self._lock:
            self._running.pop(stage, None)
        (self._notes / f"{stage}.pid").unlink(missing_ok=True)

    def _follow(
        self, process: subprocess.Popen[bytes], log: BinaryIO, heard: Callable[[str], None], deadline: float | None
    ) -> bool:
        """Read until the process ends; whether it overran its deadline."""
        assert process.stdout is not None
        lines = _Lines(process.stdout.fileno(), log, heard)
        timed_out = False
        kill_at: float | None = None
        with selectors.DefaultSelector() as selector, _pidfd(process) as ended:
            selector.register(lines.fd, selectors.EVENT_READ)
            if ended.fd is not None:
                selector.register(ended.fd, selectors.EVENT_READ)
            while not ended.now():
                for key, _ in selector.select(self._patience(deadline, kill_at, ended.fd is not None)):
                    if key.fd == lines.fd and not lines.read():
                        selector.unregister(lines.fd)
                now = self._clock.monotonic()
                if kill_at is None and (self.is_stopped or (deadline is not None and now >= deadline)):
                    timed_out = not self.is_stopped
                    _signal_group(process.pid, signal.SIGTERM)
                    kill_at = now + self._grace_s
                elif kill_at is not None and now >= kill_at:
                    _signal_group(process.pid, signal.SIGKILL)
            # Before the leader is reaped its id cannot be given to others: now is the time to end what it left.
            _signal_group(process.pid, signal.SIGKILL)
        process.wait()
        lines.drain()
        return timed_out

    def _patience(self, deadline: float | None, kill_at: float | None, hears_end: bool) -> float:
        now = self._clock.monotonic()
        until = [1.0 if hears_end else _POLL_S]
        until += [at - now for at in (deadline, kill_at) if at is not None and at > now]
        return max(0.0, min(until))


class _Lines:
    """Splits what comes through a pipe into lines; of a line that a progress bar rewrote only the last state."""

    def __init__(self, fd: int, log: BinaryIO, heard: Callable[[str], None]) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        self._log = log
        self._heard = heard
        self._rest = b""

    def read(self) -> bool:
        """Take what is there; False at the end."""
        return self._take() is not False

    def _take(self) -> bool | None:
        """True where there was something, None where there was nothing yet, False at the end."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return None
        if not data:
            return False
        self._log.write(data)
        self._log.flush()
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._say(line)
        if len(self._rest) > _LONGEST_LINE:
            self._say(self._rest)
            self._rest = b""
        return True

    def drain(self) -> None:
        """What was written before the end and not read yet."""
        while self._take():
            pass
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        text = line.rstrip(b"\r").rsplit(b"\r", 1)[-1].decode(errors="replace")
        self._heard(text)


class _pidfd:  # noqa: N801 - a context manager, used like a function
    """Tells when a process has ended, without reaping it where the kernel offers that."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        try:
            self.fd: int | None = os.pidfd_open(process.pid)
        except (AttributeError, OSError):
            self.fd = None

    def __enter__(self) -> "_pidfd":
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd is not None:
            os.close(self.fd)

    def now(self) -> bool:
        """Whether it has ended."""
        if self.fd is None:
            return self._process.poll() is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(pid: int, number: int) -> bool:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _has_ended(stat: bytes) -> bool:
    """Whether a process only waits to be reaped, by its line in /proc: the state comes after the name in brackets."""
    return stat.rpartition(b")")[2].split()[0] == b"Z"
