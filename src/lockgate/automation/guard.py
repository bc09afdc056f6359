"""One `lockgate up` a project: a lock that the kernel takes back when its process dies, however it dies.

The locked file says who holds it and, once it answers, where: process id and API address, a line each. Beside it lies
a key that makes the API trust a process of the same user, because such a process can open the records themselves.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lockgate.clock import Clock
from lockgate.errors import Conflict

_NAME = "up.lock"
_KEY_NAME = "up.key"
# `is_driven` of another command holds the lock for some microseconds while it asks.
_ATTEMPTS = 10


@contextmanager
def only_one(state: Path, clock: Clock) -> Iterator[Callable[[str], None]]:
    """Hold the project for this process; the value is called with the API's address once it answers.

    Raises Conflict naming the process that has the project.
    """
    state.mkdir(parents=True, exist_ok=True)
    with (state / _NAME).open("a+") as lock:
        for _ in range(_ATTEMPTS):
            if _try(lock):
                break
            clock.sleep(0.02)
        else:
            lock.seek(0)
            holder = lock.readline().strip() or "unknown"
            raise Conflict(
                f"`lockgate up` runs for {state.parent} already: process {holder}.", hint=f"kill {holder} stops it"
            )

        def write(text: str) -> None:
            lock.write(text)
            lock.flush()

        lock.truncate(0)
        write(f"{os.getpid()}\n")
        yield lambda address: write(f"{address}\n")
        lock.truncate(0)


def is_driven(state: Path) -> bool:
    """Whether a `lockgate up` runs for the project now, and so drives its rollouts."""
    try:
        with (state / _NAME).open("r+") as lock:
            return not _try(lock)
    except FileNotFoundError:
        return False


def driver_address(state: Path) -> str:
    """The API of the `lockgate up` that runs for the project now; empty where none does or it does not answer yet."""
    if not is_driven(state):
        return ""
    lines = (state / _NAME).read_text().splitlines()
    return lines[1] if len(lines) > 1 else ""


def write_key(state: Path) -> str:
    """A new secret for the API of this `lockgate up`, in a file that only this user can read."""
    key = secrets.token_hex(32)
    path = state / _KEY_NAME
    path.unlink(missing_ok=True)  # one that was there would keep its mode
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(key)
    return key


def key_reference(state: Path) -> str:
    """Where the key of a running `lockgate up` is, for the setting `token`; empty where it is not ours to read."""
    path = state / _KEY_NAME
    return f"file:{path}" if os.access(path, os.R_OK) else ""


def _try(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
