"""The metadata database of an installation, SQLite or PostgreSQL: how it is opened, read and written.

A transaction has one of four modes, and the code inside is written once for both databases:

    read         one consistent snapshot; it waits for nobody, and nobody for it
    decision     asks and then writes what follows from the answer: alone, no other decision comes between
    measurement  statements that are each right by themselves (insert, upsert), whatever others write meanwhile
    brief        a measurement that keeps nobody waiting, for an event loop that does small ones itself

`sqlite_engine` and `postgres_engine` say how each database keeps that, and what an acknowledged write survives.
"""

import math
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from lockgate.errors import InvalidInput, LockgateError
from lockgate.metadata import postgres_address, sqlite_engine
from lockgate.metadata.modes import Mode, Raced, TooSlow, WouldWait
from lockgate.metadata.moment import Moment

if TYPE_CHECKING:
    from lockgate.metadata.group_commit import GroupCommit

T = TypeVar("T")
# A file of SQLite, or the address of a PostgreSQL database as `postgres_address.parse_address` makes it.
Where: TypeAlias = Path | URL
# When something is done, or the clock that says so, which is read when the transaction has its turn.
Time: TypeAlias = int | Callable[[], int]

_MODE = "lockgate_mode"
# Options of a connection whose transaction is a decision.
DECISION = {_MODE: "decision"}

# A race is over when the other one has committed, so a few short waits are plenty; each is drawn up to this long.
_WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

# Of so many measurements on SQLite the first few are not brief: one moves the log into the file, the next begins the
# log anew, and both wait for the disk. So many small ones fill the thousand pages after which the log is moved.
_CYCLE, _PATIENT = 200, 2


class Tx(msgspec.Struct, frozen=True):
    """One transaction: the connection, and who does this when."""

    connection: Connection
    at: int
    by: str
    is_decision: bool
    is_single: bool = False  # one call of `points.log_points`, which may be made again where it failed
    moment: Moment | None = None  # as `Database.write` has it

    @property
    def is_sqlite(self) -> bool:
        return self.connection.dialect.name == "sqlite"


class Database:
    """Opened by `schema.open_database`; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self.reads_at_once = self._is_sqlite  # to ask another process means waiting
        # Writers of one process queue here, first come, first served; SQLite itself would let them poll.
        self._one_writer = threading.Lock()
        self._turn: AbstractContextManager[Any] = self._one_writer if self._is_sqlite else nullcontext()
        self._kept: list[Connection] = []  # for whoever measures next (`_take_kept`)
        self._open: set[object] = set()  # a mark of each connection of the driver's, from before it is made
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "close", self._forget)
        self._groups: list[GroupCommit] = []
        self._measured = 0

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot. Raises TooSlow after the limit that the engine was given."""
        with storage_errors(reading=True), self.engine.connect() as connection, connection.begin():
            yield connection

    def write(
        self,
        *,
        at: Time,
        by: str,
        decision: bool = True,
        is_single: bool = False,
        moment: Moment | None = None,
    ) -> AbstractContextManager[Tx]:
        """Committed when the block ends, rolled back when it raises. `decision` False is a measurement.

        One that `is_single` writes with one call of `points.log_points`, which PostgreSQL does alone in one round trip.
        Raises Unavailable where the database does not answer, StorageFull, and Raced where another writer came between.
        With a `moment` it is brief, and WouldWait is raised where it cannot be: SQLite waits for nobody then, and
        PostgreSQL is asked a single one in the moment's group.
        """
        if self._is_sqlite and not decision:
            return self._measure(at, by, may_wait=moment is None)
        if moment is not None:
            if not is_single or moment.group is None:
                raise WouldWait("only a measurement is brief, on PostgreSQL only a single one.")
            return nullcontext(Tx(moment.group.connection, _now(at), by, False, is_single=True, moment=moment))
        if is_single:
            return self._append(at, by)
        return self._write(at, by, is_decision=decision)

    def open_group(self) -> "GroupCommit":
        """Where an event loop asks what it measures, on PostgreSQL. Raises Unavailable."""
        from lockgate.metadata.group_commit import GroupCommit

        with storage_errors():
            connection = self._open_kept()
            try:
                group = GroupCommit(connection)
            except BaseException:
                connection.invalidate()  # its settings are no others'
                connection.close()
                raise
        self._groups.append(group)
        return group

    def close_group(self, group: "GroupCommit") -> None:
        """One that nobody asks any more, or is lost."""
        with suppress(ValueError):  # `close` was first
            self._groups.remove(group)
            group.close()

    def let_go(self) -> None:
        """Close the connections that nobody is using; new ones are opened when they are needed.

        A process that forks must: SQLite in the child would take its parent's locks for its own, write without any, and
        damage the file.
        """
        with suppress(IndexError):  # another thread may take the last
            while self._kept:
                self._kept.pop().close()
        pool = self.engine.pool
        if isinstance(pool, QueuePool) and not pool.checkedout():
            self.engine.dispose()

    @property
    def is_let_go(self) -> bool:
        """Whether no connection is open or being made. Takes no lock: in a child nobody would give it up."""
        return not self._open

    def _connect(self, dialect: Any, record: object, arguments: Any, options: Any) -> Any:  # as SQLAlchemy has them
        making = object()
        self._open.add(making)
        try:
            connection = dialect.connect(*arguments, **options)
            self._open.add(id(connection))
        finally:
            self._open.discard(making)
        return connection

    def _forget(self, connection: object, record: object) -> None:
        self._open.discard(id(connection))

    def close(self) -> None:
        while self._groups:
            self._groups.pop().close()
        while self._kept:
            self._kept.pop().close()
        self.engine.dispose()

    @contextmanager
    def _write(self, at: Time, by: str, *, is_decision: bool) -> Iterator[Tx]:
        mode: Mode = "decision" if is_decision else "measurement"
        with (
            self._turn,
            storage_errors(),
            self.engine.connect().execution_options(**{_MODE: mode}) as connection,
            connection.begin(),
        ):
            yield Tx(connection, _now(at), by, is_decision)

    @contextmanager
    def _append(self, at: Time, by: str) -> Iterator[Tx]:
        """A single measurement on PostgreSQL, where a statement outside of any transaction is one by itself."""
        with storage_errors():
            connection = self._take_kept()
            try:
                yield Tx(connection, _now(at), by, is_decision=False, is_single=True)
            except BaseException:
                if not _is_alive(connection):
                    connection.invalidate()
                connection.close()
                raise
            self._kept.append(connection)

    @contextmanager
    def _measure(self, at: Time, by: str, *, may_wait: bool) -> Iterator[Tx]:
        """A measurement on SQLite."""
        if not may_wait and self._measured % _CYCLE < _PATIENT:
            raise WouldWait("the log is to be moved into the file.")
        if not self._one_writer.acquire(blocking=may_wait):
            raise WouldWait("another thread is writing.")
        try:
            self._measured += 1
            with storage_errors():
                connection = self._take_kept()
                driver = sqlite_engine.driver_of(connection)
                try:
                    sqlite_engine.begin_on(driver, "measurement" if may_wait else "brief")
                    yield Tx(connection, _now(at), by, is_decision=False)
                    driver.file.require_lately_in_place()
                    driver.execute("COMMIT")
                except BaseException:
                    if driver.in_transaction:  # after some errors SQLite has rolled back by itself
                        driver.execute("ROLLBACK")
                    raise
                finally:
                    self._kept.append(connection)
        finally:
            self._one_writer.release()

    def _take_kept(self) -> Connection:
        """A connection on which SQLAlchemy begins and ends nothing, opened where none is waiting for its next use.

        To check one out, begin, commit and check it in costs SQLAlchemy three times what SQLite takes for a metric.
        """
        while True:
            try:
                connection = self._kept.pop()
            except IndexError:  # as good as asking first, which another thread could make untrue
                return self._open_kept()
            if self._is_sqlite or _is_alive(connection):
                return connection
            connection.invalidate()
            connection.close()

    def _open_kept(self) -> Connection:
        connection = self.engine.connect().execution_options(**{_MODE: None})
        connection.begin()  # which does nothing, and keeps SQLAlchemy from beginning anything later
        return connection


def _is_alive(connection: Connection) -> bool:
    from lockgate.metadata import postgres_engine

    return postgres_engine.is_alive(connection)


def _now(at: Time) -> int:
    return at if isinstance(at, int) else at()


def repeat_when_raced(work: Callable[[], T]) -> T:
    """What `work` returns, which is done again where another writer came between: its transaction left nothing."""
    causes: set[type | None] = set()
    for wait_s in _WAITS_S:
        try:
            return work()
        except Raced as error:
            causes.add(type(error.__cause__))
            time.sleep(random.uniform(0, wait_s))
    try:
        return work()
    except Raced as error:
        if isinstance(error.__cause__, IntegrityError) and causes == {IntegrityError}:
            raise error.__cause__ from None  # nobody can come between that often: this is a mistake of ours
        raise


def open_engine(where: Where, *, read_limit_s: float = math.inf) -> Engine:
    """An engine whose connections are set up; a file is made when it is not there, a server is not asked yet.

    A read may take `read_limit_s` seconds, on PostgreSQL each of its statements.

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
            begin_transaction(connection, mode, read_limit_s)

    event.listen(engine, "begin", begin)
    return engine


def describe(where: Where) -> str:
    """The database in a message: a path, or an address without its password."""
    return str(where) if isinstance(where, Path) else postgres_address.describe(where)


class storage_errors:  # noqa: N801  # reads as what it is in `with storage_errors():`; a generator costs twice as much
    """What the disk, the server or another process did to us, as errors a user can act on.

    Whoever opens a database may see in the message why it cannot be reached; whoever asks a server later may not.
    """

    __slots__ = ("_opening", "_reading")

    def __init__(self, opening: Where | None = None, *, reading: bool = False) -> None:
        self._opening = opening
        self._reading = reading

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        translated = None if error is None else _translate(error, self._opening, self._reading)
        if translated is not None:
            raise translated from error


def _translate(error: BaseException, opening: Where | None, reading: bool) -> LockgateError | None:
    """None for what is no error of storage, or a mistake of ours."""
    if isinstance(error, OverflowError) and "SQLite INTEGER" in str(error):
        return InvalidInput("a number is too large for the database to keep.")
    if isinstance(error, UnicodeEncodeError):
        return InvalidInput("a text is not valid Unicode and cannot be stored.")
    name = None if opening is None else describe(opening)
    if isinstance(error, sqlite3.Error):  # of a statement that went past SQLAlchemy
        return sqlite_engine.translate(error, opening=name)
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        return sqlite_engine.translate(error.orig, opening=name)
    from lockgate.metadata import postgres_engine

    if reading and postgres_engine.is_too_slow(error):
        return TooSlow()
    return postgres_engine.translate(error, opening=name)


def upsert(is_sqlite: bool, table: Any) -> Any:  # the dialects' insert constructs share no public type
    """The dialect's INSERT that knows ON CONFLICT."""
    if is_sqlite:
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]  # same shape, other class
    return insert(table)
