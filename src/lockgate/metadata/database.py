"""The metadata database of an installation, SQLite or PostgreSQL: how it is opened, read and written.

A transaction has one of three modes, and the code inside is written once for both databases:

    read         one consistent snapshot; it waits for nobody, and nobody for it
    decision     asks and then writes what follows from the answer: alone, no other decision comes between
    measurement  statements that are each right by themselves (insert, upsert), whatever others write meanwhile

`sqlite_engine` and `postgres_engine` say how each database keeps that, and what an acknowledged write survives.
"""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from lockgate.errors import InvalidInput, LockgateError
from lockgate.metadata import postgres_address, sqlite_engine
from lockgate.metadata.modes import Mode, Raced

T = TypeVar("T")
# A file of SQLite, or the address of a PostgreSQL database as `postgres_address.parse_address` makes it.
Where: TypeAlias = Path | URL

_MODE = "lockgate_mode"
# Options of a connection whose transaction is a decision.
DECISION = {_MODE: "decision"}

# A race is over when the other one has committed, so a few short waits are plenty; each is drawn up to this long.
_WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class Tx:
    """One transaction: the connection, and who does this when."""

    connection: Connection
    at: int
    by: str
    is_decision: bool

    @property
    def is_sqlite(self) -> bool:
        return self.connection.dialect.name == "sqlite"


class Database:
    """Opened by `schema.open_database`; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        # Writers of one process queue here, first come, first served; SQLite itself would let them poll.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self._is_sqlite else nullcontext()
        self._measuring: Connection | None = None  # of SQLite, for whoever has the turn (`sqlite_engine.measurement`)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot."""
        with storage_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, at: int, by: str, decision: bool = True) -> Iterator[Tx]:
        """Committed when the block ends, rolled back when it raises. `decision` False is a measurement.

        Raises Unavailable where the database does not answer, StorageFull, and Raced where another writer came between.
        """
        if self._is_sqlite and not decision:
            with self._turn, storage_errors():
                connection = self._measuring or self._open_measuring()
                with sqlite_engine.measurement(connection):
                    yield Tx(connection, at, by, is_decision=False)
            return
        mode: Mode = "decision" if decision else "measurement"
        with (
            self._turn,
            storage_errors(),
            self.engine.connect().execution_options(**{_MODE: mode}) as connection,
            connection.begin(),
        ):
            yield Tx(connection, at, by, decision)

    def close(self) -> None:
        if self._measuring is not None:
            self._measuring.close()
        self.engine.dispose()

    def _open_measuring(self) -> Connection:
        self._measuring = self.engine.connect().execution_options(**{_MODE: None})
        self._measuring.begin()  # which does nothing, and keeps SQLAlchemy from beginning anything later
        return self._measuring


def repeat_when_raced(work: Callable[[], T]) -> T:
    """What `work` returns, which is done again where another writer came between: its transaction left nothing."""
    for wait_s in _WAITS_S:
        try:
            return work()
        except Raced:
            time.sleep(random.uniform(0, wait_s))
    try:
        return work()
    except Raced as error:
        if isinstance(error.__cause__, IntegrityError):
            raise error.__cause__ from None  # nobody can come between that often: this is a mistake of ours
        raise


def open_engine(where: Where) -> Engine:
    """An engine whose connections are set up; a file is made when it is not there, a server is not asked yet.

    Raises InvalidInput where the driver for PostgreSQL is not installed.
    """
    if isinstance(where, Path):
        begin_transaction, engine = sqlite_engine.begin, sqlite_engine.make_engine(where)
    else:
        from lockgate.metadata import postgres_engine

        begin_transaction, engine = postgres_engine.begin, postgres_engine.make_engine(where)

    def begin(connection: Connection) -> None:
        mode: Mode | None = connection.get_execution_options().get(_MODE, "read")
        if mode is not None:
            begin_transaction(connection, mode)

    event.listen(engine, "begin", begin)
    return engine


def describe(where: Where) -> str:
    """The database in a message: a path, or an address without its password."""
    return str(where) if isinstance(where, Path) else postgres_address.describe(where)


@contextmanager
def storage_errors(opening: Where | None = None) -> Iterator[None]:
    """What the disk, the server or another process did to us, as errors a user can act on.

    Whoever opens a database may see in the message why it cannot be reached; whoever asks a server later may not.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        translated = _translate(error, opening)
        if translated is None:
            raise
        raise translated from error
    except OverflowError as error:
        if "SQLite INTEGER" not in str(error):
            raise
        raise InvalidInput("a number is too large for the database to keep.") from error
    except UnicodeEncodeError as error:
        raise InvalidInput("a text is not valid Unicode and cannot be stored.") from error


def _translate(error: DBAPIError | sqlite3.Error, opening: Where | None) -> LockgateError | None:
    if isinstance(error, sqlite3.Error):  # of a statement that went past SQLAlchemy
        return sqlite_engine.translate(error)
    if isinstance(error.orig, sqlite3.Error):
        return sqlite_engine.translate(error.orig)
    from lockgate.metadata import postgres_engine

    return postgres_engine.translate(error, opening=None if opening is None else describe(opening))


def upsert(is_sqlite: bool, table: Any) -> Any:  # the dialects' insert constructs share no public type
    """The dialect's INSERT that knows ON CONFLICT."""
    if is_sqlite:
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]  # same shape, other class
    return insert(table)
