"""A fresh database of each kind: every test here runs on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from lockgate.metadata.database import Database, Tx, Where
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import open_database
from lockgate.metadata.tables import metadata


@pytest.fixture
def where(database_setting: str, tmp_path: Path) -> Where:
    """A place for a database, which PostgreSQL has made already."""
    return parse_address(database_setting) if database_setting else tmp_path / "lockgate.db"


@pytest.fixture
def database(where: Where) -> Iterator[Database]:
    found = open_database(where)
    yield found
    found.close()


@pytest.fixture
def uncounted_database(new_postgres_url: str) -> Iterator[Database]:
    """A new one on PostgreSQL, which makes statistics of it only when a test says so."""
    found = open_database(parse_address(new_postgres_url))
    with found.write(at=1, by="ann") as tx:
        for table in metadata.tables:
            tx.connection.exec_driver_sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    yield found
    found.close()


@pytest.fixture
def write(database: Database) -> Callable[..., AbstractContextManager[Tx]]:
    """A write transaction at a time, by `ann`."""

    def begin(at: int = 1) -> AbstractContextManager[Tx]:
        return database.write(at=at, by="ann")

    return begin


@pytest.fixture
def rows_read() -> Callable[[Connection], int]:
    """How many rows a connection of PostgreSQL's has read, also for others lately; SQLite does not count."""

    def count(connection: Connection) -> int:
        if connection.dialect.name == "sqlite":
            return 0
        read = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
        return int(connection.exec_driver_sql(read).scalar_one())

    return count
