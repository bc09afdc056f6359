"""What grants are made on: one name or, with a `*` at the end, all names that begin so. Capitals count."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, Column, ColumnElement, Connection, Select, Text, any_, func, literal, or_, select, true

from lockgate.metadata.tables import experiments, registered_models

_FEW = 4
_LAST = "\U0010ffff" * 512  # a text and this come after all names that begin with the text: none is as long


def fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def fits_any(connection: Connection, patterns: Sequence[str] | None, column: Column[Any]) -> ColumnElement[bool]:
    """The same in SQL, of a column of names of models or experiments and several patterns; None is everything.

    A few patterns are tried on every row. That of many takes long, and SQLite refuses a thousand.
    """
    if patterns is None:
        return true()
    exact = [pattern for pattern in patterns if not pattern.endswith("*")]
    beginnings = _merged([pattern[:-1] for pattern in patterns if pattern.endswith("*")])
    if len(beginnings) <= _FEW and len(exact) <= _FEW:
        # not LIKE, to which `_` is any character and in SQLite `A` is `a`
        begins = [func.substr(column, 1, len(beginning)) == beginning for beginning in beginnings]
        return or_(column.in_(exact), *begins)
    if connection.dialect.name == "sqlite":
        return column.in_(_each(exact).union_all(_names_in(column, beginnings)))
    # One hash table for each length. Joined as in SQLite, PostgreSQL guesses how many fit, and errs by seconds.
    by_length = defaultdict(list)
    for beginning in beginnings:
        by_length[len(beginning)].append(beginning)
    begins = [_is_among(func.substr(column, 1, length), those) for length, those in by_length.items()]
    return or_(_is_among(column, exact), *begins)


def _merged(beginnings: Sequence[str]) -> list[str]:
    """Sorted, without those that begin with another."""
    kept: list[str] = []
    for beginning in sorted(beginnings):
        if not kept or not beginning.startswith(kept[-1]):
            kept.append(beginning)
    return kept


def _names_in(column: Column[Any], beginnings: Sequence[str]) -> Select[str]:
    """The names that begin so, by one way along the index of names for each beginning."""
    names = (experiments if column.table is experiments else registered_models).alias("names").c.name
    each = _each(beginnings).subquery("beginnings").c.value
    return select(names).where(names.between(each, each.concat(_LAST)))


def _each(texts: Sequence[str]) -> Select[Any]:
    """Rows of one text each, from one parameter: SQLite takes no more than 32,766."""
    listed = json.dumps([text for text in texts if "\0" not in text])  # no name has one, and SQLite would end there
    return select(func.json_each(listed).table_valued("value").c.value)


def _is_among(value: ColumnElement[str], texts: Sequence[str]) -> ColumnElement[bool]:
    return value == any_(literal(texts, ARRAY(Text)))
