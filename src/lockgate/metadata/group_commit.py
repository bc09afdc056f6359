"""PostgreSQL for an event loop: what is asked while an answer is awaited is asked together, and committed together.

A commit waits for the disk, and costs PostgreSQL as much as to write a metric. libpq's pipeline makes one transaction
of all statements up to the next Sync, so measurements of several clients share one, and none of them needs a thread.
Each is right by itself. Where one fails nothing is recorded: it is to be asked again by somebody who waits, and so is
what else is of its run, which is locked perhaps; the others are asked together once more.
"""

import select
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from psycopg import Error
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Connection

from lockgate.metadata.libpq import UNKNOWN_STATEMENT, Given, first_value, give
from lockgate.metadata.modes import WouldWait
from lockgate.metadata.moment import Asked
from lockgate.metadata.postgres_engine import execute

# All others wait behind a statement that waits for a lock, so it is refused soon.
_LOCK_TIMEOUT_MS = 100
# What every system takes of us without making us wait.
_MAX_BYTES = 16 << 10

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
        self.answers = 0  # how often PostgreSQL has answered
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
        self._both: select.poll | None = None  # where to stand still
        self._limit_ms = 0

    def stand_still_beside(self, events: int, *, limit_ms: int = 2) -> None:
        """Wait for an answer that is asked for alone, as long as nothing can be read from `events`, a file descriptor.

        To come back for it later would cost the loop a sixth of a logged metric. The loop's timers have no file
        descriptor, so there is a limit as well.
        """
        self._limit_ms = limit_ms
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

    @property
    def is_awaited(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._sent)

    def hear(self) -> None:
        """Take what has come, and tell those who asked."""
        try:
            self._pg.consume_input()
            while self._sent and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is not None:
                    self._take(result)
                elif self._pg.status != ConnStatus.OK:  # libpq has given up what is no answer of PostgreSQL
                    self.give_up()
        except Error:
            self.give_up()

    def give_up(self) -> None:
        """Refuse all that is asked and will be."""
        self._is_lost = True
        self.lost()
        unanswered, self._sent, self._waiting = self._sent + self._waiting, [], []
        _refuse(unanswered)

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
                self.give_up()
        except Error:
            self.give_up()

    def _stand_still(self) -> None:
        while self._both is not None and self._sent:
            if self._answer_is_here not in self._both.poll(self._limit_ms):
                return
            self.hear()

    def _take(self, result: PGresult) -> None:
        if result.status == ExecStatus.TUPLES_OK:
            self._values.append(first_value(result))
        elif result.status == ExecStatus.PIPELINE_SYNC:
            self._end()
        elif result.status == ExecStatus.COMMAND_OK:
            self._prepared.update(self._preparing[:1])
            del self._preparing[:1]
        elif result.error_field(DiagnosticField.SQLSTATE) == UNKNOWN_STATEMENT:
            self.give_up()  # somebody had it forget what we have prepared
        else:
            self._is_refused = True

    def _end(self) -> None:
        sent, values, refused = self._sent, self._values, []
        if self._is_refused:
            refused = _at_fault(sent, len(values))
            self._waiting[:0] = [statement for statement in sent if statement not in refused]
            sent = []
        elif len(values) != len(sent):  # these are not the answers of PostgreSQL
            self.give_up()
            return
        self._sent, self._values, self._preparing, self._is_refused = [], [], [], False
        self.answers += 1
        if self._waiting:
            self._send()  # first, so that PostgreSQL has something to do meanwhile
        for (asked, _, _), value in zip(sent, values, strict=False):
            asked.settle(value)
        _refuse(refused)


def _at_fault(sent: list[_Statement], answered: int) -> list[_Statement]:
    """What was not `answered` any more and its like; all where it was the commit that failed."""
    if answered >= len(sent):
        return sent
    run = _locks(sent[answered])[:1]
    return [statement for statement in sent if _locks(statement)[:1] == run]


def _refuse(statements: list[_Statement]) -> None:
    for asked, _, _ in statements:
        asked.is_refused = True
        asked.settle(None)


def _locks(statement: _Statement) -> list[bytes]:
    return statement[2][0][:2]  # the run, and of a single point the name of its metric


def _nobody() -> None:
    pass
