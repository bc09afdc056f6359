"""One `lockgate up` a project: a lock that the kernel takes back when its process dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lockgate.clock import Clock
from lockgate.errors import Conflict

_NAME = "up.lock"
# `is_driven` of another command holds the lock for some microseconds while it asks.
_ATTEMPTS = 10


@contextmanager
def only_one(state: Path, clock: Clock) -> Iterator[None]:
    """Hold the project for this process. Raises Conflict naming the process that has it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / _NAME).open("a+") as lock:
        for _ in range(_ATTEMPTS):
            if _try(lock):
                break
            clock.sleep(0.02)
        else:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise Conflict(
                f"`lockgate up` runs for {state.parent} already: process {holder}.", hint=f"kill {holder} stops it"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
        lock.truncate(0)


def is_driven(state: Path) -> bool:
    """Whether a `lockgate up` runs for the project now, and so drives its rollouts."""
    try:
        with (state / _NAME).open("r+") as lock:
            return not _try(lock)
    except FileNotFoundError:
        return False


def _try(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
