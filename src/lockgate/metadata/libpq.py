"""PostgreSQL's own library, below psycopg: for the one statement that is asked thousands of times a second.

It takes texts, and bytes for what is in PostgreSQL's binary format, and gives texts. psycopg's cursor, which takes and
gives Python's values, needs longer for a logged metric than PostgreSQL does. To wait for the answer is psycopg's, which
Ctrl-C can interrupt.
"""

import select
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from psycopg import DataError, Error
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.waiting import Ready
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from lockgate.metadata.modes import Moment, WouldWait

_OWING = "owing"
_UNKNOWN_STATEMENT = b"26000"

_Steps: TypeAlias = PQGen[list[PGresult]]  # of hearing an answer


class _Given(NamedTuple):
    """Parameters; a format is 1 for binary, 0 for text."""

    values: list[bytes]
    formats: list[int]


def value_of(
    connection: Connection,
    statement: str,
    values: Sequence[str | bytes],
    *,
    is_alone: bool,
    moment: Moment | None = None,
) -> str | None:
    """The first column of the first row of a statement with `$1`, `$2` ...; None where there is none.

    One that `is_alone`, outside of any transaction, is parsed once a connection. Raises DBAPIError, as SQLAlchemy
    would. With a `moment` it is alone, and WouldWait is raised where that is over before the answer has come. Who
    asks the same on that connection again is given the answer that is still owed.
    """
    driver: Any = connection.connection.driver_connection  # psycopg.Connection
    try:
        given = _Given([_encoded(value) for value in values], [isinstance(value, bytes) for value in values])
        if is_alone:
            result = _ask_prepared(driver, connection.info, statement, given, moment)
        else:
            driver.pgconn.send_query_params(statement.encode(), given.values, param_formats=given.formats)
            result = _answer(driver, execute(driver.pgconn))
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)
    except Error as error:
        raise DBAPIError.instance(statement, None, error, Error, dialect=connection.dialect) from error
    found = result.get_value(0, 0) if result.ntuples else None
    return None if found is None else found.decode()


def _encoded(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    if "\0" in value:  # libpq would take it for the text's end
        raise DataError("a text has a NUL (0x00) character")
    return value.encode()


def _ask_prepared(driver: Any, info: dict[Any, Any], statement: str, given: _Given, moment: Moment | None) -> PGresult:
    prepared: dict[str, bytes] = info.setdefault("prepared", {})
    name = prepared.get(statement)
    if name is not None:
        steps = info.pop(_OWING, None)
        if steps is None:
            driver.pgconn.send_query_prepared(name, given.values, param_formats=given.formats)
            steps = execute(driver.pgconn)
        result = _answer(driver, steps) if moment is None else _answer_within(moment, driver, steps, info)
        if result.error_field(DiagnosticField.SQLSTATE) != _UNKNOWN_STATEMENT:
            return result
        # psycopg has PostgreSQL forget all of a connection's statements when a transaction was rolled back.
    if moment is not None:
        raise WouldWait("the statement is yet to be parsed.")
    if name is None:
        name = prepared[statement] = f"lockgate_{len(prepared)}".encode()
    driver.pgconn.send_prepare(name, statement.encode())
    result = _answer(driver, execute(driver.pgconn))
    if result.status != ExecStatus.COMMAND_OK:
        return result
    driver.pgconn.send_query_prepared(name, given.values, param_formats=given.formats)
    return _answer(driver, execute(driver.pgconn))


def _answer(driver: Any, steps: _Steps) -> PGresult:
    results: list[PGresult] = driver.wait(steps)
    return results[-1]


def _answer_within(moment: Moment, driver: Any, steps: _Steps, info: dict[Any, Any]) -> PGresult:
    waiting, ours = select.poll(), driver.pgconn.socket
    waiting.register(ours, select.POLLIN)
    waiting.register(moment.events, select.POLLIN)
    try:
        next(steps)
        while any(ready == ours for ready, _ in waiting.poll(moment.limit_ms)):
            steps.send(Ready.R)
    except StopIteration as done:
        results: list[PGresult] = done.value
        return results[-1]
    info[_OWING] = steps  # which may have half of the answer already
    raise WouldWait("the database has not answered yet.")
