"""PostgreSQL's own library, below psycopg: for the one statement that is asked thousands of times a second.

It takes texts, and bytes for what is in PostgreSQL's binary format, and gives texts. psycopg's cursor, which takes and
gives Python's values, needs longer for a logged metric than PostgreSQL does. To wait for the answer is psycopg's, which
Ctrl-C can interrupt.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import DataError, Error
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

_UNKNOWN_STATEMENT = b"26000"


class _Given(NamedTuple):
    """Parameters; a format is 1 for binary, 0 for text."""

    values: list[bytes]
    formats: list[int]


def value_of(connection: Connection, statement: str, values: Sequence[str | bytes], *, is_alone: bool) -> str | None:
    """The first column of the first row of a statement with `$1`, `$2` ...; None where there is none.

    One that `is_alone`, outside of any transaction, is parsed once a connection. Raises DBAPIError, as SQLAlchemy
    would.
    """
    driver: Any = connection.connection.driver_connection  # psycopg.Connection
    try:
        given = _Given([_encoded(value) for value in values], [isinstance(value, bytes) for value in values])
        if is_alone:
            result = _ask_prepared(driver, connection.info.setdefault("prepared", {}), statement, given)
        else:
            driver.pgconn.send_query_params(statement.encode(), given.values, param_formats=given.formats)
            result = _answer(driver)
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


def _ask_prepared(driver: Any, prepared: dict[str, bytes], statement: str, given: _Given) -> PGresult:
    name = prepared.get(statement)
    if name is None:
        name = prepared[statement] = f"lockgate_{len(prepared)}".encode()
    else:
        driver.pgconn.send_query_prepared(name, given.values, param_formats=given.formats)
        result = _answer(driver)
        if result.error_field(DiagnosticField.SQLSTATE) != _UNKNOWN_STATEMENT:
            return result
        # psycopg has PostgreSQL forget all of a connection's statements when a transaction was rolled back.
    driver.pgconn.send_prepare(name, statement.encode())
    result = _answer(driver)
    if result.status != ExecStatus.COMMAND_OK:
        return result
    driver.pgconn.send_query_prepared(name, given.values, param_formats=given.formats)
    return _answer(driver)


def _answer(driver: Any) -> PGresult:
    results: list[PGresult] = driver.wait(execute(driver.pgconn))
    return results[-1]
