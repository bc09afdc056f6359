"""Processes that this one starts and that must not outlive it.

A child is started as `python -m lockgate.cli.child ARGUMENTS`: it asks the kernel to be stopped when its parent
dies, however it dies, and then becomes the `lockgate` command with those arguments.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lockgate.automation.project_file import in_force

PARENT = "LOCKGATE_PARENT_PID"

_END_BYTES = 65_536  # of a log that may be long: where an error is looked for
_ERROR_LENGTH = 500


def command(root: Path, *arguments: str) -> list[str]:
    """The command line of a child that works in the project at `root`, by what is in force there."""
    project = ("-C", str(root), "--project-file", str(in_force(root)))
    return [sys.executable, "-m", "lockgate.cli.child", *project, *arguments]


def child_environment() -> Mapping[str, str]:
    """The child's variables: ours, and who its parent is."""
    return {**os.environ, PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1"}


def run_child(
    root: Path, arguments: Sequence[str], *, log: Path, running: "set[subprocess.Popen[bytes]]"
) -> tuple[int, str]:
    """Run one to its end, its output appended to `log`: its exit code and the error that it named, if it did.

    The code is negative for a signal. `running` holds it meanwhile, so that whoever stops us can stop it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        begin = output.tell()
        child = subprocess.Popen(
            command(root, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=child_environment(),
        )
        running.add(child)
        try:
            code = child.wait()
        finally:
            running.discard(child)
    return code, _error(log, begin)


def _error(log: Path, begin: int) -> str:
    """The error that `lockgate` printed last (cli/main.py) behind `begin`, as one line."""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - _END_BYTES))
        output = file.read().decode(errors="replace")
    _, found, error = f"\n{output}".rpartition("\nerror: ")
    return " ".join(error.partition("\n  next: ")[0].split())[:_ERROR_LENGTH] if found else ""
