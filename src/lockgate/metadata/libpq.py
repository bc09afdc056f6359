"""PostgreSQL's own library, below psycopg: for the one statement that is asked thousands of times a second.

It takes texts and gives texts. psycopg's cursor, which takes and gives Python's values, needs longer for a logged
metric than PostgreSQL does.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import DataError, Error
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def value_of(connection: Connection, statement: str, values: Sequence[str]) -> str | None:
    """The first column of the first row of a statement with `$1`, `$2` ...; None where there is none.

    Raises DBAPIError, as SQLAlchemy would.
    """
    driver: Any = connection.connection.driver_connection  # psycopg.Connection
    prepared: dict[str, bytes] = connection.info.setdefault("prepared", {})
    try:
        if any("\0" in text for text in values):  # libpq would take it for the text's end
            raise DataError("a text has a NUL (0x00) character")
        name = prepared.get(statement)
        if name is None:
            name = prepared[statement] = _prepare(driver.pgconn, f"lockgate_{len(prepared)}".encode(), statement)
        result = driver.pgconn.exec_prepared(name, [text.encode() for text in values])
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)
    except Error as error:
        raise DBAPIError.instance(statement, None, error, Error, dialect=connection.dialect) from error
    found = result.get_value(0, 0) if result.ntuples else None
    return None if found is None else found.decode()


def _prepare(libpq: PGconn, name: bytes, statement: str) -> bytes:
    result = libpq.prepare(name, statement.encode())
    if result.status != ExecStatus.COMMAND_OK:
        raise error_from_result(result)
    return name
