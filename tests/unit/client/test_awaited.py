import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.client.awaited import Awaited
from lockgate.client.client import Client
from lockgate.client.transport import Transport
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.errors import NotFound, Unavailable


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Transport]:
    with connect(Settings(), state=tmp_path / "state", user="ann", clock=SystemClock()) as found:
        yield found.transport


def test_records_that_are_away_are_opened_once_when_they_are_back(records: Transport, tmp_path: Path) -> None:
    opened: list[Transport] = []
    is_away = True

    def open_records() -> Transport:
        if is_away:
            raise Unavailable("away.")
        opened.append(records)
        return records

    awaited = Awaited(open_records)
    tracking = Client(awaited, SystemClock()).tracking
    for _ in range(2):
        with pytest.raises(Unavailable, match="away"):
            tracking.list_experiments()
    awaited.let_go()
    assert awaited.is_let_go
    is_away = False
    assert [found.name for found in tracking.list_experiments()] == ["Default"]
    with pytest.raises(NotFound):
        awaited.get_file("0/none", tmp_path / "target")
    assert opened == [records]
    assert awaited.is_let_go == records.is_let_go
    awaited.let_go()
    assert records.is_let_go


def test_records_that_are_being_opened_are_not_let_go(records: Transport) -> None:
    """A child that is forked then must not open them itself."""
    has_begun, may_end = threading.Event(), threading.Event()

    def open_records() -> Transport:
        has_begun.set()
        may_end.wait()
        return records

    awaited = Awaited(open_records)
    thread = threading.Thread(target=Client(awaited, SystemClock()).tracking.list_experiments)
    thread.start()
    has_begun.wait()
    awaited.let_go()
    assert not awaited.is_let_go
    may_end.set()
    thread.join()
    awaited.let_go()
    assert awaited.is_let_go
