"""What is said of things by name, such as params and tags: a param is said once and stays, a tag may be said again.

Rows are written in the order of their names, so that of two who say the same things at once one waits, and not both.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

from lockgate.errors import InvalidInput
from lockgate.metadata import driver
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.limits import require_text, without_nul
from lockgate.wire.operation import KEY_LENGTH

Owner = TypeVar("Owner", str, int)


def pairs_of(connection: Connection, table: Table, owners: Sequence[Owner]) -> dict[Owner, list[tuple[str, Any]]]:
    """(name, value) by owner, sorted by name, of all owners in one query: the columns of the table in that order."""
    owner, name, value = (column.name for column in table.c)
    statement = f"SELECT {owner}, {name}, {value} FROM {table.name} WHERE {owner} IN ? ORDER BY {owner}, {name}"
    found: dict[Owner, list[tuple[str, Any]]] = {}
    for of, said, as_what in driver.rows_among(connection, statement, among=owners):
        found.setdefault(of, []).append((said, as_what))
    return found


def say_once(tx: Tx, table: Table, of: str, owner: str, values: Mapping[str, str]) -> None:
    """Write params of `owner`, whose id is the first column of the table; `of` says in a message what it is.

    The same value again is fine, another one raises InvalidInput, after which the transaction must not be committed.
    """
    if not values:
        return
    _require_keys(values)
    for key, value in values.items():
        without_nul(value, f"param {key}")
    id_column = table.c[0].name
    rows = [{id_column: owner, "key": key, "value": value} for key, value in sorted(values.items())]
    new = upsert(tx.is_sqlite, table).on_conflict_do_nothing(index_elements=[id_column, "key"])
    new = new.execution_options(preserve_rowcount=True)
    if tx.connection.execute(new, rows).rowcount == len(rows):  # which they nearly always are
        return
    query = f"SELECT key, value FROM {table.name} WHERE {id_column} = ? AND key IN ?"
    for key, known in sorted(driver.rows_among(tx.connection, query, owner, among=list(values))):
        if known != values[key]:
            raise InvalidInput(
                f"Changing param values is not allowed. The param {key!r} of {of} {owner} is {_shown(known)} and "
                f"cannot become {_shown(values[key])}.",
                hint=f"params are logged once a {of}; log what changes as a metric or a tag",
            )


def say_again(tx: Tx, table: Table, owner: str, values: Mapping[str, str]) -> None:
    """Set or overwrite tags of `owner`, whose id is the first column of the table. Raises InvalidInput."""
    if not values:
        return
    _require_keys(values)
    id_column = table.c[0].name
    statement = upsert(tx.is_sqlite, table)
    newest = statement.on_conflict_do_update(
        index_elements=[id_column, "key"], set_={"value": statement.excluded.value}
    )
    stored = {key: without_nul(value, f"tag {key}") for key, value in sorted(values.items())}
    tx.connection.execute(newest, [{id_column: owner, "key": key, "value": value} for key, value in stored.items()])


def _require_keys(keys: Iterable[str]) -> None:
    """Any text that can be stored. Where MLflow's server wants more of a name, the caller asks for that."""
    for key in keys:
        if not key:
            raise InvalidInput("Missing value for required parameter 'key'.")
        require_text(key, KEY_LENGTH, "key")


def _shown(value: str) -> str:
    return repr(value if len(value) <= 100 else f"{value[:100]}...")
