"""A filter tree -> SQL. Every condition is true or false, never NULL, so that NOT is the complement on any database."""

import operator as op
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Double, Integer, Text, and_, case, false, literal, not_, or_, true

from lockgate.errors import InvalidInput
from lockgate.metadata.filters import EVERYTHING, And, Comparison, Filter, Name, Not, Value
from lockgate.metadata.tables import indexed_part

PRESENCE = ("IS NULL", "IS NOT NULL")
_SYMBOLS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": op.eq,
    "!=": op.ne,
    ">": op.gt,
    ">=": op.ge,
    "<": op.lt,
    "<=": op.le,
}
_LIST = ("IN", "NOT IN")
_RANGE = ("BETWEEN", "NOT BETWEEN")
_LIKE = ("LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE")
_OF_NUMBERS = (*_SYMBOLS, *_LIST, *_RANGE)
_LONGEST_PATTERN = 50_000  # SQLite's own limit
_OF_TEXTS = ("=", "!=", *_LIKE, *_LIST)

Columns = Mapping[str, ColumnElement[Any]]


def holds(
    tree: Filter, of: Callable[[Comparison], ColumnElement[bool]], *, looked_up: Collection[str] = ()
) -> ColumnElement[bool]:
    """SQL of the whole tree; `of` says it for one comparison, which is a query of its own for entities `looked_up`."""
    if isinstance(tree, Comparison):
        return of(tree)
    if isinstance(tree, Not):
        return not_(holds(tree.part, of, looked_up=looked_up))
    if isinstance(tree, And):
        # What equals one value is true of the fewest rows, so the others are seldom asked for after it.
        parts = sorted(tree.parts, key=lambda part: not (isinstance(part, Comparison) and part.operator == "="))
        in_turn = [part for part in parts if isinstance(part, Comparison) and part.name.entity in looked_up]
        free = [holds(part, of, looked_up=looked_up) for part in parts if part not in in_turn]
        return and_(true(), *free, _in_turn([of(part) for part in in_turn]))
    return or_(false(), *(holds(part, of, looked_up=looked_up) for part in tree.parts))


def _in_turn(conditions: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    """All of them, none asked before those it stands behind; of an AND PostgreSQL asks first what it thinks cheap."""
    if len(conditions) < 2:
        return and_(true(), *conditions)
    *others, last = conditions
    return case(*((not_(condition), false()) for condition in others), else_=last)


def comparisons(tree: Filter) -> Iterator[Comparison]:
    """All of them, as they were written."""
    if isinstance(tree, Comparison):
        yield tree
        return
    for part in (tree.part,) if isinstance(tree, Not) else tree.parts:
        yield from comparisons(part)


def required(tree: Filter) -> Iterator[Comparison]:
    """The comparisons that everything found must satisfy."""
    if isinstance(tree, Comparison):
        yield tree
    elif isinstance(tree, And):
        for part in tree.parts:
            yield from required(part)


def without(tree: Filter, comparison: Comparison) -> Filter:
    """What is left to check where one of the `required` comparisons is known to hold."""
    if tree is comparison:
        return EVERYTHING
    return And(tuple(without(part, comparison) for part in tree.parts)) if isinstance(tree, And) else tree


def attribute(comparison: Comparison, *, of: str, texts: Columns, numbers: Columns) -> ColumnElement[bool]:
    """The comparison of one of the row's own columns. Raises InvalidInput for one that `of` (runs) do not have."""
    key = comparison.name.key
    column = texts.get(key, numbers.get(key))
    if column is None:
        raise unknown_attribute(key, of=of, known=[*texts, *numbers])
    condition = compare_number(column, comparison) if key in numbers else compare_text(column, comparison)
    if comparison.operator in PRESENCE or not getattr(column, "nullable", False):
        return condition
    return and_(column.is_not(None), condition)


def compare_number(column: ColumnElement[Any], comparison: Comparison) -> ColumnElement[bool]:
    """Raises InvalidInput where the comparison is none of numbers."""
    key, operator, value = comparison.name.key, comparison.operator, comparison.value
    if operator in PRESENCE:
        return _compare(column, operator, value)
    if operator not in _OF_NUMBERS:
        raise InvalidInput(f"{key} is a number: compare it with {', '.join(_OF_NUMBERS)}, not {operator}.")
    for item in _values(value):
        if isinstance(item, str):
            raise InvalidInput(f"{key} is a number and cannot be compared with the text {item!r}.")
    bound = tuple(_bound(column, item) for item in _values(value))
    return _compare(column, operator, bound if isinstance(value, tuple) else bound[0])


def compare_text(column: ColumnElement[Any], comparison: Comparison) -> ColumnElement[bool]:
    """Raises InvalidInput where the comparison is none of texts."""
    key, operator, value = comparison.name.key, comparison.operator, comparison.value
    if operator in PRESENCE:
        return _compare(column, operator, value)
    if operator not in _OF_TEXTS:
        raise InvalidInput(f"{key} is a text: compare it with {', '.join(_OF_TEXTS)}, not {operator}.")
    for item in _values(value):
        if not isinstance(item, str):
            raise InvalidInput(f"{key} is a text: write its value in quotes, {operator} '{item}'.")
    return _compare(column, operator, value)


def compare_metric(
    value: ColumnElement[float], is_nan: ColumnElement[bool], comparison: Comparison
) -> ColumnElement[bool]:
    """`compare_number` where NaN is kept beside the value: it equals nothing and lies in no range."""
    condition = compare_number(value, comparison)
    is_other = comparison.operator == "!=" or comparison.operator.startswith("NOT ")
    return or_(condition, is_nan == true()) if is_other else and_(condition, is_nan == false())


def compare_indexed_text(column: ColumnElement[Any], comparison: Comparison) -> ColumnElement[bool]:
    """`compare_text` of a column whose index may hold only the beginning of each value, said so that it serves."""
    whole = compare_text(column, comparison)
    if comparison.operator not in ("=", "IN"):
        return whole
    beginnings = [indexed_part(literal(value, Text())) for value in _values(comparison.value)]
    return and_(indexed_part(column).in_(beginnings), whole)


def require_entity(name: Name, allowed: Collection[str], *, of: str) -> str:
    """The entity, `attribute` where none is named. Raises InvalidInput for one that `of` (experiments) do not have."""
    entity = name.entity or "attribute"
    if entity not in allowed:
        raise InvalidInput(f"{of} have no {entity} {name.key!r}: use one of their {', '.join(allowed)}.")
    return entity


def unknown_attribute(key: str, *, of: str, known: Collection[str]) -> InvalidInput:
    return InvalidInput(f"{of} have no attribute {key!r}; they have: {', '.join(known)}.")


def _bound(column: ColumnElement[Any], value: Any) -> Any:
    """PostgreSQL's driver would send a number as the column's type: a fraction rounded, a large one not at all."""
    if not isinstance(column.type, Integer):
        return float(value)
    if isinstance(value, float):
        return literal(value, Double())
    return value if -(2**31) <= value < 2**31 else literal(value, BigInteger())


def _values(value: Value | tuple[Value, ...] | None) -> tuple[Value | None, ...]:
    return value if isinstance(value, tuple) else (value,)


def _compare(column: ColumnElement[Any], operator: str, value: Any) -> ColumnElement[bool]:
    if operator.startswith("NOT "):
        return not_(_compare(column, operator.removeprefix("NOT "), value))
    if operator == "LIKE":
        return column.like(*_pattern(value))
    if operator == "ILIKE":
        return column.ilike(*_pattern(value))
    if operator == "IN":
        return column.in_(value)
    if operator == "BETWEEN":
        return column.between(*value)
    if operator == "IS NULL":
        return column.is_(None)
    if operator == "IS NOT NULL":
        return column.is_not(None)
    found: ColumnElement[bool] = _SYMBOLS[operator](column, value)
    return found


def _pattern(text: str) -> tuple[str, str | None]:
    """A backslash is a character like any other, as SQLite has it; PostgreSQL must be told."""
    pattern, escape = (text.replace("\\", "\\\\"), "\\") if "\\" in text else (text, None)
    if len(pattern.encode()) > _LONGEST_PATTERN:
        raise InvalidInput(f"a pattern has at most {_LONGEST_PATTERN} bytes; one of LIKE or ILIKE is longer.")
    return pattern, escape
