"""SQLite: one file, one writer at a time.

A write transaction takes the write lock when it begins (BEGIN IMMEDIATE), so it never fails half-way because somebody
else wrote first. While another process has it, we ask again every few milliseconds. SQLite's own wait sleeps longer
each time, up to a tenth of a second, so whoever has waited longest has the least chance: under eight busy writers some
waited nine seconds, where two are enough.

Durability: with a write-ahead log and `synchronous=NORMAL` an acknowledged write survives `kill -9` of every process.
A decision (a release, an alias, a rollout) is written with `synchronous=FULL` and survives a power cut as well;
measurements (metrics, params, tags) do not pay for an fsync each.
"""

import math
import random
import sqlite3
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, FromClause, create_engine, event, make_url
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.pool import QueuePool

from lockgate.errors import DataDamaged, InvalidInput, LockgateError, StorageFull, Unavailable
from lockgate.metadata.modes import Mode, TooSlow, WouldWait
from lockgate.metadata.sqlite_file import SqliteFile

BUSY_TIMEOUT_S = 30.0
_OLDEST = (3, 35)
_LOOK = "look at the disk, and at who may write to the file and its folder"
_ASK_EVERY_S = (0.0005, 0.004)  # drawn, so that nobody is always a little late
# Some milliseconds of its work. To be asked more often would hold it up: it waits for the interpreter each time.
_STEPS = 100_000
_WRITE = ("busy_timeout = 0", "temp_store = MEMORY")
_PRAGMAS: Mapping[Mode, tuple[str, ...]] = {
    # A read may sort millions of values, which are to go to a file then; a write keeps there what it would undo.
    "read": (f"busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}", "temp_store = FILE"),
    "brief": (*_WRITE, "synchronous = NORMAL", "wal_autocheckpoint = 0"),
    "measurement": (*_WRITE, "synchronous = NORMAL", "wal_autocheckpoint = 1000"),
    "decision": (*_WRITE, "synchronous = FULL"),
}


def require_version(version: tuple[int, ...]) -> None:
    """Raises InvalidInput for an SQLite without RETURNING."""
    if version < _OLDEST:
        given, needed = (".".join(map(str, numbers)) for numbers in (version, _OLDEST))
        raise InvalidInput(
            f"this Python has SQLite {given}, and {needed} or later is needed.",
            hint="use a Python that brings its own (of uv or conda, say), or keep records in PostgreSQL",
        )


def make_engine(path: Path) -> Engine:
    """The file and its folder are made when they are not there.

    Raises InvalidInput where SQLite is too old, Unavailable where the folder cannot be made.
    """
    require_version(sqlite3.sqlite_version_info)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{path.parent} cannot be made: {error.strerror}.", hint=_LOOK) from error
    file = SqliteFile(path)
    engine = create_engine(
        make_url("sqlite://").set(database=str(file.path)),
        connect_args={
            "timeout": BUSY_TIMEOUT_S,
            "check_same_thread": False,
            "cached_statements": 256,
            "factory": partial(Driver, file),
        },
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=24,
    )
    engine.dialect.statement_compiler = _Compiler
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "commit", lambda connection: driver_of(connection).file.require_in_place())
    return engine


class _Compiler(SQLiteCompiler):
    """Writes the hints of a query (INDEXED BY), which SQLAlchemy leaves out for SQLite."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text


class Driver(sqlite3.Connection):
    """What `make_engine` opens; it knows its file, and for which mode it was set last."""

    def __init__(self, file: SqliteFile, path: str, **options: Any) -> None:  # as `sqlite3.connect` has them
        super().__init__(file.uri(), uri=True, **options)
        file.require_in_place()
        self.file = file
        self.mode: Mode | None = None
        self.limit = _Limit()


class _Limit:
    """Until when the transaction may take."""

    def __init__(self) -> None:
        self.until = math.inf

    def is_over(self) -> bool:
        return time.monotonic() > self.until


def begin(connection: Connection, mode: Mode, read_limit_s: float) -> None:
    """`begin_on` of a connection of SQLAlchemy's; a read may take so long."""
    begin_on(driver_of(connection), mode, time.monotonic() + read_limit_s if mode == "read" else math.inf)


def begin_on(driver: Driver, mode: Mode, until: float = math.inf) -> None:
    """Begin a transaction, which may take until then; one that writes has the write lock.

    A brief one waits neither for another process nor for the disk: the moving of the log into the file is left to the
    next that is not.

    Raises sqlite3.OperationalError if others keep the lock, WouldWait for a brief one if others have it.
    """
    driver.limit.until = until
    # Straight to the driver: SQLAlchemy's machinery costs more than these statements.
    if driver.mode != mode:
        for pragma in _PRAGMAS[mode]:
            driver.execute(f"PRAGMA {pragma}")
        driver.mode = mode
    if mode == "read":
        driver.execute("BEGIN")
    else:
        _take_turn(driver, may_wait=mode != "brief")


def driver_of(connection: Connection) -> Driver:
    driver: object = connection.connection.dbapi_connection  # for sqlite3 the driver's own, and near at hand
    assert isinstance(driver, Driver)
    return driver


def _take_turn(driver: sqlite3.Connection, *, may_wait: bool) -> None:
    limit = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > limit:
                raise
            if not may_wait:
                raise WouldWait("another process is writing.") from error
        time.sleep(random.uniform(*_ASK_EVERY_S))


def translate(error: sqlite3.Error, *, opening: str | None = None) -> LockgateError | None:
    """None for what is a mistake of ours. `opening` names the database in a message to whoever opens it."""
    text = str(error)
    if "disk is full" in text:
        return StorageFull("the disk is full: nothing of this was recorded.", hint="free some space, then repeat")
    if "malformed" in text or "not a database" in text:
        return DataDamaged(f"the metadata database is damaged: {text}.", hint="restore lockgate.db from a backup")
    if not isinstance(error, sqlite3.OperationalError):
        return None
    if "locked" in text or "busy" in text:
        return Unavailable(
            f"the metadata database was locked by another process for {BUSY_TIMEOUT_S:g} seconds.",
            hint="repeat; if it stays locked, look for a hanging process that has lockgate.db open",
        )
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_INTERRUPT:
        return TooSlow()
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # even whoever reads makes a small file
        full = "the disk is full: the metadata database cannot be read."
        return StorageFull(full, hint="free some space, then repeat")
    if "unable to open" in text or "readonly" in text or "I/O" in text:
        hint = None if opening is None else _LOOK
        if code == sqlite3.SQLITE_IOERR_WRITE:  # SQLite keeps to itself why
            hint = "look for a quota, a limit of a file's size (ulimit -f), and errors of the disk"
        return Unavailable(f"{opening or 'the metadata database'} cannot be used: {text}.", hint=hint)
    return None


def _set_up(driver: Driver, record: object) -> None:
    driver.isolation_level = None  # the driver must not begin transactions of its own; `begin` does
    for pragma in (
        "journal_mode = WAL",
        "foreign_keys = ON",
        "synchronous = NORMAL",
        "case_sensitive_like = ON",
        "cache_size = -16384",  # what a page of a hundred runs reads among a million
    ):
        driver.execute(f"PRAGMA {pragma}")
    driver.set_progress_handler(driver.limit.is_over, _STEPS)
