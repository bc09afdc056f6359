"""PostgreSQL for an event loop: what is asked while an answer is awaited is asked together, and committed together.

A commit waits for the disk, and costs PostgreSQL as much as to write a metric. libpq's pipeline makes one transaction
of all statements up to the next Sync, so measurements of several clients share one, and none of them needs a thread.
Each is right by itself; where one fails all do, and each is to be asked again by somebody who waits.
"""

import select
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from psycopg import Error
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Connection

from lockgate.metadata.libpq import UNKNOWN_STATEMENT, Given, first_value, give
from lockgate.metadata.modes import Asked, WouldWait
from lockgate.metadata.postgres_engine import execute

# All others wait behind a statement that waits for a lock, so it is refused soon.
_LOCK_TIMEOUT_MS = 100
# What every system takes of us without making us wait.
_MAX_BYTES = 16 << 10
_STAND_STILL_MS = 2

_Statement: TypeAlias = tuple[Asked, str, Given]


class GroupCommit:
    """A connection, and what is asked on it. For one thread, whose loop calls `hear` when `socket` can be read.

    The socket is closed when the connection is lost; the loop, called with `lost`, must not look at it any more.
    """

    def __init__(self, connection: Connection) -> None:
        execute(connection, f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
        driver: Any = connection.connection.driver_connection  # psycopg.Connection
        self.connection = connection
        self.lost: Callable[[], object] = _nobody
        self._is_lost = False
        self._pg = driver.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self.socket: int = self._pg.socket
        self._answer_is_here = self.socket, select.POLLIN
        self._waiting: list[_Statement] = []
        self._sent: list[_Statement] = []
        self._values: list[str | None] = []  # of what was sent, so far
        self._names: dict[str, bytes] = {}  # of statements
        self._prepared: set[str] = set()
        self._preparing: list[str] = []
        self._is_refused = False
        self._both: select.poll | None = None

    def stand_still_beside(self, events: int) -> None:
        """Wait for an answer that is asked for alone: as long as nothing can be read from `events`, a file descriptor.

        And for two milliseconds at most. To come back for it later would cost the loop a sixth of a logged metric.
        """
        self._both = select.poll()
        self._both.register(self.socket, select.POLLIN)
        self._both.register(events, select.POLLIN)

    def ask(self, statement: str, values: Sequence[str | bytes]) -> Asked:
        """Send it, or keep it until what was sent is answered. Raises WouldWait where nothing can be asked."""
        if self._is_lost:
            raise WouldWait("the connection is lost.")
        try:
            given = give(values)
        except (Error, UnicodeEncodeError) as error:
            raise WouldWait("what cannot be stored is refused by who may wait.") from error
        asked = Asked()
        self._waiting.append((asked, statement, given))
        if not self._sent:
            self._send()
            self._stand_still()
        return asked

    def hear(self) -> None:
        """Take what has come, and tell those who asked."""
        try:
            self._pg.consume_input()
            while self._sent and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is not None:
                    self._take(result)
        except Error:
            self._lose()

    def close(self) -> None:
        self.connection.invalidate()
        self.connection.close()

    def _send(self) -> None:
        size = count = 0
        for _, _, (values, _) in self._waiting:
            size += sum(map(len, values))
            if count and size > _MAX_BYTES:
                break
            count += 1
        self._sent = self._waiting[:count]
        del self._waiting[:count]
        if count > 1:
            self._sent.sort(key=_locks)  # who locks rows in the same order gets into no deadlock
        try:
            for _, statement, (values, formats) in self._sent:
                name = self._names.setdefault(statement, b"lockgate_%d" % len(self._names))
                if statement not in self._prepared and statement not in self._preparing:
                    self._preparing.append(statement)
                    self._pg.send_prepare(name, statement.encode())
                self._pg.send_query_prepared(name, values, param_formats=formats)
            self._pg.pipeline_sync()
            if self._pg.flush():
                self._lose()
        except Error:
            self._lose()

    def _stand_still(self) -> None:
        while self._both is not None and self._sent:
            if self._answer_is_here not in self._both.poll(_STAND_STILL_MS):
                return
            self.hear()

    def _take(self, result: PGresult) -> None:
        if result.status == ExecStatus.TUPLES_OK:
            self._values.append(first_value(result))
        elif result.status == ExecStatus.PIPELINE_SYNC:
            self._end()
        elif result.status == ExecStatus.COMMAND_OK:
            self._prepared.add(self._preparing.pop(0))
        else:
            self._is_refused = True
            if result.error_field(DiagnosticField.SQLSTATE) == UNKNOWN_STATEMENT:
                self._prepared.clear()

    def _end(self) -> None:
        sent, values, is_refused = self._sent, self._values, self._is_refused
        self._sent, self._values, self._preparing, self._is_refused = [], [], [], False
        if self._waiting:
            self._send()  # first, so that PostgreSQL has something to do meanwhile
        for at, (asked, _, _) in enumerate(sent):
            _end(asked, None if is_refused else values[at], is_refused=is_refused)

    def _lose(self) -> None:
        self._is_lost = True
        self.lost()
        lost, self._sent, self._waiting = self._sent + self._waiting, [], []
        for asked, _, _ in lost:
            _end(asked, None, is_refused=True)


def _locks(statement: _Statement) -> list[bytes]:
    return statement[2][0][:2]  # the run, and of a single point the name of its metric


def _nobody() -> None:
    pass


def _end(asked: Asked, value: str | None, *, is_refused: bool) -> None:
    asked.value, asked.is_over, asked.is_refused = value, True, is_refused
    if asked.heard is not None:
        asked.heard()
