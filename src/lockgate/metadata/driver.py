"""Straight to the database's driver, for what is asked with every metric that is logged and every run that is found.

SQLAlchemy's way from a statement to its rows costs ten times what SQLite takes for them. What comes by the thousand a
second goes past it, in the same transaction: rows of many values at once, written and read, and one value by its key.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Connection, Select, String, Table
from sqlalchemy.exc import IntegrityError

from lockgate.metadata.binary_arrays import binary_array
from lockgate.metadata.database import Tx
from lockgate.metadata.sqlite_engine import driver_of

# SQLite takes 32,766 parameters a statement, but a row costs a quarter more where those leave the processor's cache.
_ROWS_A_STATEMENT = 512
KNOWN_IS_FINE = "ON CONFLICT DO NOTHING"


class Insert(NamedTuple):
    """`INSERT INTO table (first, columns) ... conflict`, for both databases.

    `first` is the column that has one value in all rows, `conflict` the end of the statement; a row that is given twice
    must leave what it leaves once. `KNOWN_IS_FINE` leaves out a row that is there already.
    """

    table: Table
    first: str
    columns: tuple[str, ...]
    conflict: str

    @property
    def head(self) -> str:
        return f"INSERT INTO {self.table.name} ({', '.join((self.first, *self.columns))})"


class Given(NamedTuple):
    """What must be so for rows to be written: `statement`, with a `?` for their first value, finds `value`.

    The row in which it is found stays there until the transaction ends; PostgreSQL is told so, SQLite has one writer.
    """

    statement: str
    value: str


def insert(
    tx: Tx, first: str, *parts: tuple[Insert, Sequence[tuple[object, ...]]], given: Given
) -> Any:  # whatever the column holds that is asked for
    """Rows into tables, all at once; on PostgreSQL in one statement. Each row has its values in the order of `columns`,
    and there is one at least; no two different rows of a table may conflict with each other.

    Returns what is found where it must be `given`; where it is another value, or None, nothing is written.

    Truth is 0 or 1: sqlite3 looks for a way to adapt each bool, which costs as much as to store the row.
    """
    if not tx.is_sqlite:
        return _insert_into_postgresql(tx, first, parts, given)
    execute = driver_of(tx.connection).execute
    found = _first(execute(given.statement, (first,)).fetchone())
    if found != given.value:
        return found
    # Hundreds of rows are one call of the driver, which lets go of the interpreter's lock for as long as it lasts.
    # Row by row it would be fought for at every row, and a training loop in another thread holds it 5 ms each time.
    for into, rows in parts:
        for start in range(0, len(rows), _ROWS_A_STATEMENT):
            part = rows[start : start + _ROWS_A_STATEMENT]
            size = 1 << (len(part) - 1).bit_length()  # a dozen statements are prepared in all
            values_of_part = chain((first,), *part, *repeat(part[-1], size - len(part)))
            execute(_sqlite_statement(into, size), tuple(values_of_part))
    return found


def _insert_into_postgresql(
    tx: Tx, first: str, parts: Sequence[tuple[Insert, Sequence[tuple[object, ...]]]], given: Given
) -> str | None:
    from lockgate.metadata.libpq import value_of

    tables = tuple(into for into, _ in parts)
    many = any(len(rows) > 1 for _, rows in parts)  # arrays of one value each take PostgreSQL twice as long
    values: list[str | bytes] = [first]
    for into, rows in parts:
        values.append(first)
        if many:
            kinds = (into.table.c[name].type for name in into.columns)
            values.extend(map(binary_array, kinds, zip(*rows, strict=True)))
        else:
            values.extend(map(_text, rows[0]))

    def ask(*, all_new: bool) -> str | None:
        statement = _postgres_statement(tables, given, many=many, all_new=all_new)
        return value_of(tx.connection, statement, values, is_alone=tx.is_single)

    if tx.is_single:  # nearly always all rows are new, and to look first whether they are costs PostgreSQL two fifths
        with suppress(IntegrityError):
            return ask(all_new=True)
    return ask(all_new=False)


def scalar(connection: Connection, statement: str, value: object) -> Any:  # whatever the column holds
    """The first column of the first row of a statement with one `?`; None where there is none."""
    return _first(_execute(connection, statement, (value,)).fetchone())


def plain_rows(connection: Connection, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    """All rows, as the driver's tuples: for those that come by the hundred thousand.

    SQLAlchemy's rows take half as long again as reading them.
    """
    found = connection.execute(query)
    assert found.cursor is not None
    rows = found.cursor.fetchall()
    found.close()
    return rows


def rows_among(connection: Connection, statement: str, *values: str, among: Sequence[str]) -> list[Any]:
    """All rows, tuples, of a statement with a `?` for each of the values and then one `IN ?`."""
    # One parameter, for a statement of SQLite takes no more than 32,766.
    if connection.dialect.name == "sqlite":
        statement, given = statement.replace("IN ?", "IN (SELECT value FROM json_each(?))"), json.dumps(list(among))
    else:
        statement, given = statement.replace("IN ?", "= ANY(?::TEXT[])"), _array(among)
    rows: list[Any] = _execute(connection, statement, (*values, given)).fetchall()
    return rows


def _execute(connection: Connection, statement: str, values: tuple[object, ...]) -> Any:  # the driver's cursor
    """A statement with a `?` for each of the values, or its number."""
    if connection.dialect.name == "sqlite":
        return driver_of(connection).execute(statement, values)
    from lockgate.metadata import postgres_engine

    return postgres_engine.execute(connection, statement.replace("?", "%s"), values)


def _first(row: Sequence[Any] | None) -> Any:  # whatever the column holds
    return None if row is None else row[0]


def _array(values: Sequence[str]) -> str:
    """As PostgreSQL reads an array from a text; psycopg takes many times longer to write the same of a list."""
    quoted = ['"' + text.replace("\\", r"\\").replace('"', r"\"") + '"' for text in values]
    return f"{{{','.join(quoted)}}}"


@lru_cache(64)
def _sqlite_statement(into: Insert, rows: int) -> str:
    columns = ", ".join(f"column{number}" for number in range(1, 1 + len(into.columns)))
    values = ", ".join([f"({', '.join('?' * len(into.columns))})"] * rows)
    # A SELECT before ON CONFLICT needs a WHERE, or its ON would be that of a join.
    return f"{into.head} SELECT ?1, {columns} FROM (VALUES {values}) WHERE true {into.conflict}"


def _text(value: object) -> str:  # a text, or a number
    return value if isinstance(value, str) else repr(value)


@lru_cache(64)
def _postgres_statement(parts: tuple[Insert, ...], given: Given, *, many: bool, all_new: bool) -> str:
    """One statement for all rows: as many parameters as there are columns, each an array where there are `many` rows.

    Where they must be `all_new`, a row that is there already fails it.
    """
    from sqlalchemy.dialects import postgresql

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no annotations

    def place(into: Insert, name: str, suffix: str = "") -> str:
        kind = into.table.c[name].type
        if isinstance(kind, Boolean) and not suffix:
            return "?::INTEGER::BOOLEAN"
        # A text is cast to TEXT: a cast to VARCHAR(n) would cut it without a word.
        return f"?::{'TEXT' if isinstance(kind, String) else kind.compile(dialect)}{suffix}"

    def one(into: Insert) -> str:
        columns = ", ".join(place(into, name, "[]" if many else "") for name in into.columns)
        rows = f"{place(into, into.first)}, " + (f"of_row.* FROM unnest({columns}) AS of_row" if many else columns)
        conflict = "" if all_new and into.conflict == KNOWN_IS_FINE else into.conflict
        return f"{into.head} SELECT {rows} WHERE (SELECT value FROM given) = '{given.value}' {conflict}"

    steps = ", ".join(f"part{number} AS ({one(into)})" for number, into in enumerate(parts))
    # The lock that a foreign key would ask for with every row: others may change the row, but not delete it.
    asked = f"WITH given (value) AS ({given.statement} FOR KEY SHARE), {steps} SELECT value FROM given".split("?")
    return "".join(f"{part}${number}" for number, part in enumerate(asked[:-1], 1)) + asked[-1]
