"""Real records, a transport that can be cut off, and outboxes that end with their test."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.client.outbox.outbox import Outbox
from lockgate.client.outbox.segment import Header
from lockgate.client.tracking import Tracking
from lockgate.client.transport import Transport
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.errors import LockgateError, Unavailable
from lockgate.wire.operation import Operation


class Line(Transport):
    """A way to the records that is cut until `restore`, and noted."""

    def __init__(self, client: Client, error: LockgateError) -> None:
        self._client = client
        self._error = error
        self._open = threading.Event()
        self.tried = threading.Semaphore(0)
        self.calls: list[str] = []

    @property
    def tracking(self) -> Tracking:
        return Tracking(self, SystemClock())

    def restore(self) -> None:
        self._open.set()

    def call(self, operation: Operation[Any, Any], request: Any) -> Any:
        self.tried.release()
        if not self._open.is_set():
            raise self._error
        self.calls.append(operation.name)
        return self._client.transport.call(operation, request)

    def put_file(self, path: str, local: Path) -> None:
        self._client.transport.put_file(path, local)

    def get_file(self, path: str, target: Path) -> None:
        self._client.transport.get_file(path, target)

    def close(self) -> None:
        self.restore()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with connect(Settings(), state=tmp_path / "state", user="ann", clock=SystemClock()) as found:
        yield found


@pytest.fixture
def run_id(client: Client) -> str:
    return client.tracking.create_run("0")


@pytest.fixture
def make_line(client: Client) -> Callable[[LockgateError], Line]:
    return lambda error: Line(client, error)


@pytest.fixture
def line(make_line: Callable[[LockgateError], Line]) -> Line:
    return make_line(Unavailable("the line is cut."))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def make_outbox(client: Client, run_id: str, folder: Path) -> Iterator[Callable[..., Outbox]]:
    made: list[Outbox] = []

    def make(tracking: Tracking | None = None, *, run: str = run_id, limit_bytes: int = 1 << 20) -> Outbox:
        outbox = Outbox(
            folder,
            Header(run, ""),
            tracking or client.tracking,
            limit_bytes=limit_bytes,
            clock=SystemClock(),
            rng=random.Random(7),
        )
        made.append(outbox)
        return outbox

    yield make
    for outbox in made:
        outbox.close(0)
