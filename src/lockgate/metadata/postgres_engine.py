"""PostgreSQL: many writers, many server processes, and still the behaviour of SQLite.

Decisions take turns. Each begins by taking one advisory lock, which PostgreSQL gives back when the transaction ends,
however it ends, so of all processes one decides at a time: what it has read stays true until it has written, exactly as
behind SQLite's single writer. The alternative, SERIALIZABLE, aborts one of two decisions that merely passed through the
same page of an index, and would make every metric pay for watching what it reads. Decisions are made by people and
once a run, so turns cost nothing that is felt; measurements, which come by the thousand, take none.

READ COMMITTED is what makes the turns exact: every statement sees what was committed before it began, and so all that
earlier decisions wrote. A snapshot, as REPEATABLE READ takes it, would be of the time before the wait.

Measurements run beside each other and beside decisions. Each of their statements is right by itself, by ON CONFLICT,
the tables' keys and the lock on the run that metrics belong to. Where one collides with what somebody else commits (a
deadlock, a key that just went), PostgreSQL ends it, and `repeat_when_raced` does the whole of it again.

Texts are kept and ordered by their bytes (`_ByteOrder`) and have no length of their own: SQLite knows none, and what
is too long is refused before it comes here.

Durability is the server's: by default an acknowledged write is on its disk, decision or measurement. With
`synchronous_commit=off` a measurement would be lost when the server is killed, which nothing may do.
"""

import logging
import math
import select
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import URL, Column, Connection, Engine, String, create_engine, event
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError

from lockgate.errors import DataDamaged, InvalidInput, LockgateError, PermissionDenied, StorageFull, Unavailable
from lockgate.metadata.modes import Mode, Raced

log = logging.getLogger("lockgate.metadata")

LOCK_TIMEOUT_S = 10
_TURN = int.from_bytes(b"LOCKGATE")
_BEGIN: Mapping[Mode, str] = {
    # Whether a way is short depends on the values that are asked for. A write is one way, and may carry thousands.
    "read": (
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
        "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = on"
    ),
    "measurement": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "decision": f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({_TURN})",
}
# A server that vanished without a word (a pulled cable) is given up after some 20 seconds, not after 15 minutes.
_CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
    "application_name": "lockgate",
}
_SESSION = (
    "SET default_transaction_isolation = 'read committed'",  # also of a statement that is a transaction by itself
    f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'",
    "SET idle_in_transaction_session_timeout = '60s'",  # of a process that was stopped while it had the turn
    "SET jit = off",  # our statements are over before they would be compiled, or processes to share them are there
    "SET max_parallel_workers_per_gather = 0",
    "SET enable_seqscan = off",  # of plans that are kept: made while there were few runs, one would read all for each
)

_RACES = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "23503",  # foreign_key_violation: what we had just read was deleted
    "23505",  # unique_violation: what we had just missed was inserted
}
_UNSTORABLE = {
    "22001": "a text is too long",
    "22003": "a number is too large",
    "22021": "a text is not valid",
    "22P05": "a text has a character that the database's encoding lacks",
    "54000": "a name is too long",
}
# Classes and codes of a server that is overloaded, stops, starts, hands over to another, or lets us in no more.
_ABSENT = ("08", "53", "57", "58", "28", "3D", "25P03", "25P04", "42501")


def make_engine(url: URL) -> Engine:
    """Raises InvalidInput where the driver is not installed."""
    given = {name: value for name, value in _CONNECT.items() if name not in url.query}
    given["client_encoding"] = "utf8"  # whatever is asked for: `libpq` has texts in no other
    try:
        engine = create_engine(url, connect_args=given, pool_size=8, max_overflow=24, use_native_hstore=False)
    except ImportError as error:
        raise InvalidInput(
            f"records in PostgreSQL need a driver that is not installed: {error}.",
            hint="pip install 'lockgate[postgres]'",
        ) from error
    engine.dialect.ddl_compiler = _ByteOrder
    engine.dialect.connect = _connect  # type: ignore[method-assign]  # by all who open one
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "checkout", _require_alive)
    return engine


def begin(connection: Connection, mode: Mode, read_limit_s: float) -> None:
    """Begin a transaction; a decision has its turn, each statement of a read may take so long.

    Raises OperationalError where others keep the turn long.
    """
    statements = _BEGIN[mode]
    if mode == "read" and read_limit_s < math.inf:
        statements += f"; SET LOCAL statement_timeout = {read_limit_s * 1000:.0f}"
    try:
        execute(connection, statements, prepare=False)  # one round trip; several statements cannot be prepared
    except DBAPIError:
        if not is_alive(connection):
            connection.invalidate()  # or SQLAlchemy would fail to roll it back, and log that with its traceback
        raise


def execute(connection: Connection, statement: str, values: Sequence[Any] = (), *, prepare: bool | None = None) -> Any:
    """The cursor of psycopg, past SQLAlchemy. Raises DBAPIError, as that would."""
    from psycopg import Error

    driver: Any = connection.connection.driver_connection  # psycopg.Connection, as `_set_up` got it
    try:
        return driver.execute(statement, values, prepare=prepare)
    except Error as error:
        raise DBAPIError.instance(statement, None, error, Error, dialect=connection.dialect) from error


def prefer_walks(connection: Connection, *, prefer: bool, may_sort: bool) -> None:
    """Have the rest of this transaction go along indexes and stop early, whatever statistics say; or undo it.

    They do not know how conditions depend on each other, so a page that is full after a hundred steps is thought to
    need all rows, which are then read, hashed and sorted. Of few rows that no index has in their order it `may_sort`.
    """
    usual = "'off'" if prefer else "'on'"
    on = dict.fromkeys(("hashjoin", "mergejoin", "bitmapscan", "material"), usual)
    on["sort"] = "'on'" if may_sort else usual
    on["seqscan"] = "'off'" if prefer else "current_setting('transaction_read_only')"  # off in what writes
    settings = ", ".join(f"set_config('enable_{way}', {value}, true)" for way, value in on.items())
    execute(connection, f"SELECT {settings}")


def is_too_slow(error: DBAPIError) -> bool:
    """Of a statement that was given up, by `begin` or by whoever runs the server."""
    return getattr(error.orig, "sqlstate", None) == "57014"


def translate(error: DBAPIError, *, opening: str | None) -> LockgateError | None:
    """None for what is a mistake of ours. `opening` names the database in a message to whoever opens it."""
    state = getattr(error.orig, "sqlstate", None) or ""
    reason = str(error.orig).strip().partition("\n")[0]
    if state in _RACES:
        return Raced("others kept writing the same records at the same time.", hint="repeat")
    if state == "53100":
        return StorageFull("the database's disk is full: nothing of this was recorded.", hint="free some space there")
    if state == "55P03":
        return Unavailable(
            f"the metadata database was held by another writer for {LOCK_TIMEOUT_S} seconds.",
            hint="repeat; if it lasts, look for a transaction that hangs: SELECT * FROM pg_stat_activity",
        )
    if state == "25006":
        return Unavailable(
            f"{opening or 'the metadata database'} takes no writes now: it is read-only, as a standby is.",
            hint="repeat when the failover is over; if it lasts, look at who made it read-only",
        )
    if state in ("XX001", "XX002"):
        return DataDamaged(f"the metadata database is damaged: {reason}.", hint="restore it from a backup")
    if state in _UNSTORABLE:
        return InvalidInput(f"{_UNSTORABLE[state]} for the database to keep.")
    if not state and "NUL (0x00)" in reason:
        return InvalidInput("a text has a NUL character, which cannot be stored.")
    if state == "42501" and opening is not None:
        return PermissionDenied(f"{opening} cannot be used: {reason}.", hint="come as the user who owns its tables")
    if state.startswith(_ABSENT) or error.connection_invalidated or (not state and isinstance(error, OperationalError)):
        if opening is not None:
            hint = "check that it runs and that the setting database is right"
            return Unavailable(f"{opening} cannot be used: {reason}.", hint=hint)
        log.warning("the metadata database does not answer: %s", reason)
        return Unavailable("the metadata database does not answer.", hint="repeat in a moment")
    return None


def _connect(*arguments: Any, **options: Any) -> Any:
    from lockgate.metadata.postgres_connection import LimitedConnection

    return LimitedConnection.connect(*arguments, **options)


def _set_up(driver: Any, record: object) -> None:
    driver.autocommit = True  # the driver must not begin transactions of its own; `begin` does
    for statement in _SESSION:
        driver.execute(statement)


def wait_without_limit(connection: Connection) -> None:
    """Have its statements take as long as they need, as those of a migration."""
    driver: Any = connection.connection.driver_connection
    driver.answer_limit_s = None


def is_alive(connection: Connection) -> bool:
    """Whether the server has not closed the connection, as it does when it stops.

    Between transactions a server says nothing but goodbye, so there is no need to ask it, as SQLAlchemy's pre-ping
    would at the price of a round trip for every transaction.
    """
    return _is_alive(connection.connection.driver_connection)


def _require_alive(driver: Any, record: object, proxy: object) -> None:
    """Have SQLAlchemy open another connection in the place of this one."""
    if not _is_alive(driver):
        raise DisconnectionError("the server has closed the connection")


def _is_alive(driver: Any) -> bool:  # psycopg.Connection
    if driver.closed:
        return False
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return not poll.poll(0)


class _ByteOrder(PGDDLCompiler):
    """Every text column is `TEXT COLLATE "C"`: one order, whatever locale the server was made with.

    An index in the order of a locale is wrong after the next upgrade of the operating system's library anyway.
    """

    def get_column_specification(self, column: Column[Any], **options: Any) -> str:
        found: str = super().get_column_specification(column, **options)  # type: ignore[no-untyped-call]  # it has none
        if not isinstance(column.type, String):
            return found
        name = self.preparer.format_column(column)
        kind = self.dialect.type_compiler_instance.process(column.type, type_expression=column)
        assert found.startswith(f"{name} {kind}"), found
        return f'{name} TEXT COLLATE "C"{found[len(name) + 1 + len(kind) :]}'
