"""Straight to the database's driver, for what is asked with every metric that is logged and every run that is found.

SQLAlchemy's way from a statement to its rows costs ten times what SQLite takes for them. What comes by the thousand a
second goes past it, in the same transaction: rows of many keys, and one value by its key. `points` writes so.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select

from lockgate.metadata.sqlite_engine import driver_of


def scalar(connection: Connection, statement: str, value: object) -> Any:  # whatever the column holds
    """The first column of the first row of a statement with one `?`; None where there is none."""
    row = _execute(connection, statement, (value,)).fetchone()
    return None if row is None else row[0]


def plain_rows(connection: Connection, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    """All rows, as the driver's tuples: for those that come by the hundred thousand.

    SQLAlchemy's rows take half as long again as reading them.
    """
    found = connection.execute(query)
    assert found.cursor is not None
    rows = found.cursor.fetchall()
    found.close()
    return rows


def rows_among(connection: Connection, statement: str, *values: str, among: Sequence[str] | Sequence[int]) -> list[Any]:
    """All rows, tuples, of a statement with a `?` for each of the values and then one `IN ?`."""
    if not among:  # PostgreSQL would want to be told the type of nothing
        return []
    # One parameter, for a statement of SQLite takes no more than 32,766.
    if connection.dialect.name == "sqlite":
        statement, given = statement.replace("IN ?", "IN (SELECT value FROM json_each(?))"), json.dumps(list(among))
    else:
        kind = "BIGINT" if isinstance(among[0], int) else "TEXT"
        statement, given = statement.replace("IN ?", f"= ANY(?::{kind}[])"), _array(among)
    rows: list[Any] = _execute(connection, statement, (*values, given)).fetchall()
    return rows


def prefer_walks(connection: Connection, *, prefer: bool = True, may_sort: bool = False) -> None:
    """Have the rest of this transaction go along indexes and stop early, as SQLite does in any case; or not."""
    if connection.dialect.name != "sqlite":
        from lockgate.metadata import postgres_engine

        postgres_engine.prefer_walks(connection, prefer=prefer, may_sort=may_sort)


def _execute(connection: Connection, statement: str, values: tuple[object, ...]) -> Any:  # the driver's cursor
    """A statement with a `?` for each of the values, or its number."""
    if connection.dialect.name == "sqlite":
        return driver_of(connection).execute(statement, values)
    from lockgate.metadata import postgres_engine

    return postgres_engine.execute(connection, statement.replace("?", "%s"), values)


def _array(values: Iterable[object]) -> str:
    """As PostgreSQL reads an array from a text; psycopg takes many times longer to write the same of a list."""
    quoted = ['"' + text.replace("\\", r"\\").replace('"', r"\"") + '"' for text in map(str, values)]
    return f"{{{','.join(quoted)}}}"
