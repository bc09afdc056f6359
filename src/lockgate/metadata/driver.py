"""Straight to the database's driver, for what is asked with every metric that is logged.

SQLAlchemy's way from a statement to its rows costs ten times what SQLite takes for them. What comes by the thousand a
second goes past it, in the same transaction: rows of many values at once, and one value by its key.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, String, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from lockgate.metadata.database import Tx

_POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no annotations


@dataclass(frozen=True)
class Insert:
    """`INSERT INTO table (columns) ... conflict`, for both databases; `conflict` is the end of the statement."""

    table: Table
    columns: tuple[str, ...]
    conflict: str
    _sqlite: str = field(init=False)
    _postgres: str = field(init=False)

    def __post_init__(self) -> None:
        head = f"INSERT INTO {self.table.name} ({', '.join(self.columns)})"
        places = ", ".join("?" * len(self.columns))
        # One statement for all rows: as many parameters as there are columns, whatever the number of rows.
        arrays = ", ".join(f"%s::{_array_of(self.table.c[name].type)}" for name in self.columns)
        object.__setattr__(self, "_sqlite", f"{head} VALUES ({places}) {self.conflict}")
        object.__setattr__(self, "_postgres", f"{head} SELECT * FROM unnest({arrays}) {self.conflict}")

    def execute(self, tx: Tx, rows: Sequence[tuple[object, ...]]) -> None:
        """Each row has its values in the order of `columns`; no two may conflict with each other."""
        if not rows:
            return
        if not tx.is_sqlite:
            tx.connection.exec_driver_sql(self._postgres, tuple(map(list, zip(*rows, strict=True))))
            return
        try:
            _sqlite_driver(tx.connection).executemany(self._sqlite, rows)
        except sqlite3.Error as error:
            raise _wrapped(self._sqlite, error) from error


def scalar(connection: Connection, statement: str, value: object) -> Any:  # whatever the column holds
    """The first column of the first row of a statement with one `?`; None where there is none."""
    if connection.dialect.name != "sqlite":
        return connection.exec_driver_sql(statement.replace("?", "%s"), (value,)).scalar()
    try:
        row = _sqlite_driver(connection).execute(statement, (value,)).fetchone()
    except sqlite3.Error as error:
        raise _wrapped(statement, error) from error
    return None if row is None else row[0]


def _array_of(type_: TypeEngine[Any]) -> str:
    """A text is cast to TEXT: a cast to VARCHAR(n) would cut it without a word."""
    return "TEXT[]" if isinstance(type_, String) else f"{type_.compile(_POSTGRES)}[]"


def _sqlite_driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _wrapped(statement: str, error: sqlite3.Error) -> BaseException:
    """As SQLAlchemy would have raised it: whoever translates errors knows only those."""
    return DBAPIError.instance(statement, None, error, sqlite3.Error)
