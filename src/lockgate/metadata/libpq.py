"""PostgreSQL's own library, below psycopg: for the one statement that is asked thousands of times a second.

It takes texts, and bytes for what is in PostgreSQL's binary format, and gives texts. psycopg's cursor, which takes and
gives Python's values, needs longer for a logged metric than PostgreSQL does. To wait for the answer is psycopg's, which
Ctrl-C can interrupt.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from psycopg import DataError, Error
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

UNKNOWN_STATEMENT = b"26000"

# Parameters and their formats, 1 for binary and 0 for text.
Given: TypeAlias = tuple[list[bytes], list[int]]


def give(values: Sequence[str | bytes]) -> Given:
    """Raises DataError and UnicodeEncodeError for what PostgreSQL cannot store."""
    given: list[bytes] = []
    formats: list[int] = []
    for value in values:
        if isinstance(value, bytes):
            given.append(value)
            formats.append(1)
            continue
        if "\0" in value:  # libpq would take it for the text's end
            raise DataError("a text has a NUL (0x00) character")
        given.append(value.encode())
        formats.append(0)
    return given, formats


def value_of(connection: Connection, statement: str, values: Sequence[str | bytes], *, is_alone: bool) -> str | None:
    """The first column of the first row of a statement with `$1`, `$2` ...; None where there is none.

    One that `is_alone`, outside of any transaction, is parsed once a connection. Raises DBAPIError, as SQLAlchemy
    would.
    """
    driver: Any = connection.connection.driver_connection  # psycopg.Connection
    try:
        given, formats = give(values)
        if is_alone:
            result = _ask_prepared(driver, connection.info.setdefault("prepared", {}), statement, (given, formats))
        else:
            driver.pgconn.send_query_params(statement.encode(), given, param_formats=formats)
            result = _answer(driver)
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)
    except Error as error:
        raise DBAPIError.instance(statement, None, error, Error, dialect=connection.dialect) from error
    return first_value(result)


def first_value(result: PGresult) -> str | None:
    """Of the first row; None where there is none."""
    found = result.get_value(0, 0) if result.ntuples else None
    return None if found is None else found.decode()


def _ask_prepared(driver: Any, prepared: dict[str, bytes], statement: str, given: Given) -> PGresult:
    values, formats = given
    name = prepared.get(statement)
    if name is not None:
        driver.pgconn.send_query_prepared(name, values, param_formats=formats)
        result = _answer(driver)
        if result.error_field(DiagnosticField.SQLSTATE) != UNKNOWN_STATEMENT:
            return result
        # psycopg has PostgreSQL forget all of a connection's statements when a transaction was rolled back.
    else:
        name = prepared[statement] = f"lockgate_{len(prepared)}".encode()
    driver.pgconn.send_prepare(name, statement.encode())
    result = _answer(driver)
    if result.status != ExecStatus.COMMAND_OK:
        return result
    driver.pgconn.send_query_prepared(name, values, param_formats=formats)
    return _answer(driver)


def _answer(driver: Any) -> PGresult:
    results: list[PGresult] = driver.wait(execute(driver.pgconn))
    return results[-1]
