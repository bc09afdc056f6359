"""A fresh database."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lockgate.metadata.database import Database, Tx
from lockgate.metadata.schema import open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = open_database(tmp_path / "lockgate.db")
    yield found
    found.close()


@pytest.fixture
def write(database: Database) -> Callable[..., AbstractContextManager[Tx]]:
    """A write transaction at a time, by `ann`."""

    def begin(at: int = 1) -> AbstractContextManager[Tx]:
        return database.write(at=at, by="ann")

    return begin
