"""Runs real commands in front of the reader, checks what they did, and remembers it for the table at the end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

T = TypeVar("T")

BOLD, DIM, GREEN, RED, OFF = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else [""] * 5
)


class DidNotHappen(Exception):
    """A step of the story did not do what it promises."""


class Narrator:
    """Tells the story: headings, commands with their output, and what was seen."""

    def __init__(self, folder: Path, *, bin_folder: Path) -> None:
        self.folder = folder
        self.started_at = time.monotonic()
        self.seen: list[tuple[str, str]] = []
        self._step = 0
        self._children: list[subprocess.Popen[bytes]] = []
        self._env = {
            **os.environ,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "110",
        }

    def heading(self, text: str) -> None:
        self._step += 1
        elapsed = time.monotonic() - self.started_at
        print(f"\n{BOLD}━━ {self._step}. {text} {OFF}{DIM}({elapsed:.0f} s){OFF}", flush=True)

    def say(self, text: str) -> None:
        print(f"   {text}", flush=True)

    def run(self, command: str, *, exits: int = 0, lines: int = 14) -> str:
        """Run a command in the project, show the last `lines` of its output, and demand its exit code."""
        print(f"{DIM}   ${OFF} {BOLD}{command}{OFF}", flush=True)
        done = subprocess.run(
            shlex.split(command), cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=120
        )
        output = done.stdout + done.stderr
        shown = [line for line in output.splitlines() if line.strip()]
        if len(shown) > lines:
            print(f"{DIM}     ... {len(shown) - lines} lines above{OFF}")
        for line in shown[-lines:]:
            print(f"     {line}")
        if exits:
            print(f"{DIM}     exit code {done.returncode}{OFF}", flush=True)
        if done.returncode != exits:
            raise DidNotHappen(f"`{command}` ended with {done.returncode}, not {exits}:\n{output}")
        return done.stdout

    def start(self, command: str, *, log: Path) -> subprocess.Popen[bytes]:
        """Start a process that lives beside the story; `stop_all` ends it."""
        print(f"{DIM}   ${OFF} {BOLD}{command} &{OFF}", flush=True)
        with log.open("wb") as file:
            child = subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self._env, stdout=file, stderr=file, start_new_session=True
            )
        self._children.append(child)
        return child

    def wait_for(self, what: str, look: Callable[[], T | None], *, seconds: float) -> T:
        """What `look` finds, once it finds something. Raises DidNotHappen after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise DidNotHappen(f"{what}: not within {seconds:.0f} s.")

    def note(self, what: str, seen: str) -> None:
        """A line of the table at the end."""
        self.seen.append((what, seen))
        print(f"   {GREEN}✓{OFF} {what}: {seen}", flush=True)

    def stop_all(self) -> None:
        """End what we started, gently, then by force; only by the ids of our own children."""
        for child in self._children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self._children:
            try:
                child.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self._children.clear()

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        width = max(len(name) for name, _ in rows)
        for name, text in rows:
            print(f"   {name:<{width}}  {text}")

    def fail(self, error: Exception) -> NoReturn:
        print(f"\n{RED}The story broke:{OFF} {error}", file=sys.stderr)
        sys.exit(1)
