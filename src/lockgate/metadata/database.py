"""The metadata database of an installation: how it is opened, read and written.

One write transaction at a time: SQLite has one writer, so writers of this process queue on a lock (first come, first
served, no polling) and only other processes are waited for by SQLite's busy timeout. A write transaction takes the
write lock when it begins (BEGIN IMMEDIATE), so it never fails half-way because somebody else wrote first.

Durability: with a write-ahead log and `synchronous=NORMAL` an acknowledged write survives `kill -9` of every process.
A decision (a release, an alias, a rollout) is written with `synchronous=FULL` and survives a power cut as well;
measurements (metrics, params, tags) do not pay for an fsync each.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from lockgate.errors import DataDamaged, LockgateError, StorageFull, Unavailable

BUSY_TIMEOUT_S = 10.0
_SYNCHRONOUS = "lockgate_synchronous"
# Options of a connection whose transaction writes, and whose commit must survive a power cut.
WRITE_DECISION = {_SYNCHRONOUS: "FULL"}


@dataclass(frozen=True)
class Tx:
    """One transaction: the connection, and who does this when."""

    connection: Connection
    at: int
    by: str

    @property
    def is_sqlite(self) -> bool:
        return self.connection.dialect.name == "sqlite"


class Database:
    """Opened by `open_database`; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot."""
        with storage_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, at: int, by: str, decision: bool = True) -> Iterator[Tx]:
        """Committed when the block ends, rolled back when it raises. `decision` False skips the fsync."""
        mode = "FULL" if decision else "NORMAL"
        with (
            self._writing,
            storage_errors(),
            self.engine.connect().execution_options(**{_SYNCHRONOUS: mode}) as connection,
            connection.begin(),
        ):
            yield Tx(connection, at, by)

    def close(self) -> None:
        self.engine.dispose()


def open_engine(path: Path) -> Engine:
    """An engine on a SQLite file, with every connection set up; the file is made when it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        make_url("sqlite://").set(database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False, "cached_statements": 256},
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=24,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: SqliteConnection, record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own; `_begin` does
    for pragma in (
        "journal_mode = WAL",
        "foreign_keys = ON",
        "synchronous = NORMAL",
        "temp_store = MEMORY",
        "case_sensitive_like = ON",
        "cache_size = -8192",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    mode = connection.get_execution_options().get(_SYNCHRONOUS)
    # Straight to the driver: SQLAlchemy's machinery costs more than these statements, on every metric logged.
    driver: Any = connection.connection.driver_connection  # sqlite3.Connection, as `_set_up` got it
    try:
        if mode is None:
            driver.execute("BEGIN")
        else:
            driver.execute(f"PRAGMA synchronous = {mode}")
            driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise OperationalError("BEGIN", None, error) from error


@contextmanager
def storage_errors() -> Iterator[None]:
    """What the disk or another process did to us, as errors a user can act on."""
    try:
        yield
    except DBAPIError as error:
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error


def _translate(error: DBAPIError) -> LockgateError | None:
    text = str(error.orig)
    if "disk is full" in text:
        return StorageFull("the disk is full: nothing of this was recorded.", hint="free some space, then repeat")
    if "malformed" in text or "not a database" in text:
        return DataDamaged(f"the metadata database is damaged: {text}.", hint="restore lockgate.db from a backup")
    if isinstance(error, OperationalError) and ("locked" in text or "busy" in text):
        return Unavailable(
            f"the metadata database was locked by another process for {BUSY_TIMEOUT_S:g} seconds.",
            hint="repeat; if it stays locked, look for a hanging process that has lockgate.db open",
        )
    if isinstance(error, OperationalError) and ("unable to open" in text or "readonly" in text or "I/O" in text):
        return Unavailable(f"the metadata database cannot be used: {text}.")
    return None


def upsert(is_sqlite: bool, table: Any) -> Any:  # the dialects' insert constructs share no public type
    """The dialect's INSERT that knows ON CONFLICT."""
    if is_sqlite:
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]  # same shape, other class
    return insert(table)
