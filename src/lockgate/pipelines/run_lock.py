"""One run at a time in a project: a lock that the kernel drops when its holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NewType

from lockgate.errors import Unavailable
from lockgate.store.atomic import naming_full_disk

# Between fork and exec a stage has its run's lock as well, and keeps it that long where the run is killed meanwhile.
_FORK_S = 0.5

Held = NewType("Held", Path)  # the proof that this process holds the lock of the state folder


@contextmanager
def hold_run_lock(state: Path) -> Iterator[Held]:
    """Hold the lock of a project. Raises Unavailable, naming the process that holds it."""
    path = state / "run.lock"
    with naming_full_disk(path):
        state.mkdir(parents=True, exist_ok=True)
        # Not inherited by stages: an orphan of a killed run must not keep the next one from starting.
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            _lock(fd, path)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            yield Held(state)
        finally:
            os.close(fd)


def _lock(fd: int, path: Path) -> None:
    limit = time.monotonic() + _FORK_S
    while not _is_taken(fd):
        if time.monotonic() > limit:
            pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
            raise Unavailable(
                f"another run works on this project: process {pid or 'unknown'} holds {path}.",
                hint="wait until it ends, or stop that process; its finished stages are kept",
            )
        time.sleep(_FORK_S / 20)


def _is_taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
