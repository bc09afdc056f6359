"""MLflow's filter language: `metrics.auc > 0.9 AND tags.team = 'a' AND attributes.status IN ('FINISHED')`.

    filter      comparison (AND comparison)*
    comparison  name operator value  |  name [NOT] IN (value, ...)  |  name IS [NOT] NULL
    name        [entity.]key, the key in backticks or double quotes where it holds anything but letters, digits, _ . - /
    operator    =  !=  >  >=  <  <=  LIKE  ILIKE

Parsing knows nothing of tables; `condition` turns one comparison of a column into SQL.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement

from lockgate.errors import InvalidInput

Value = str | float


class Name(NamedTuple):
    """`entity` is empty where the filter names none."""

    entity: str
    key: str


class Comparison(NamedTuple):
    """`operator` in capitals; `value` is a tuple for IN and None for IS NULL."""

    name: Name
    operator: str
    value: Value | tuple[Value, ...] | None


_ENTITIES: Mapping[str, str] = {
    "metric": "metric",
    "metrics": "metric",
    "param": "param",
    "params": "param",
    "parameter": "param",
    "parameters": "param",
    "tag": "tag",
    "tags": "tag",
    "attribute": "attribute",
    "attributes": "attribute",
    "attr": "attribute",
    "run": "attribute",
    "dataset": "dataset",
    "datasets": "dataset",
}

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^'\\]|\\.|'')*')
  | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
  | (?P<operator><=|>=|!=|=|<|>)
  | (?P<punctuation>[(),])
  | (?P<name>(?:[A-Za-z_][\w]*\.)?(?:`[^`]+`|"[^"]*")|[A-Za-z_][\w./\-]*)
    )""",
    re.VERBOSE,
)
_NUMERIC = {"=", "!=", ">", ">=", "<", "<="}


class _Token(NamedTuple):
    kind: str
    text: str


def parse_filter(text: str) -> list[Comparison]:
    """The comparisons that must all hold. Raises InvalidInput that quotes where the filter stops making sense."""
    tokens = _tokenize(text)
    found: list[Comparison] = []
    position = 0
    while position < len(tokens):
        if found:
            _expect(tokens, position, "AND", text)
            position += 1
        comparison, position = _comparison(tokens, position, text)
        found.append(comparison)
    return found


def parse_name(text: str) -> Name:
    """`metrics.auc`, "params.`learning rate`" or a bare `start_time`. Raises InvalidInput for an unknown entity."""
    head, dot, rest = text.partition(".")
    if dot and head.strip('`"') == head:
        entity = _ENTITIES.get(head.lower())
        if entity is None:
            raise InvalidInput(f"{head!r} cannot be searched by; use metrics, params, tags, attributes or datasets.")
        return Name(entity, _unquote(rest))
    return Name("", _unquote(text))


def condition(column: ColumnElement[str] | ColumnElement[float], comparison: Comparison) -> ColumnElement[bool]:
    """SQL for one comparison of one column; the caller has checked that the value fits the column."""
    operator, value = comparison.operator, comparison.value
    if operator == "=":
        return column == value
    if operator == "!=":
        return column != value
    if operator == ">":
        return column > value
    if operator == ">=":
        return column >= value
    if operator == "<":
        return column < value
    if operator == "<=":
        return column <= value
    if operator == "LIKE":
        return column.like(value)
    if operator == "ILIKE":
        return column.ilike(value)
    if operator in ("IN", "NOT IN"):
        assert isinstance(value, tuple)
        return column.in_(value) if operator == "IN" else column.not_in(value)
    return column.is_(None) if operator == "IS NULL" else column.is_not(None)


def require_number(comparison: Comparison) -> Comparison:
    """Raises InvalidInput where the comparison is none of numbers."""
    key, operator, value = comparison.name.key, comparison.operator, comparison.value
    if operator in ("IS NULL", "IS NOT NULL"):
        return comparison
    if operator not in _NUMERIC or isinstance(value, tuple):
        raise InvalidInput(f"{key} is a number: compare it with {', '.join(sorted(_NUMERIC))}, not {operator}.")
    try:
        return comparison._replace(value=float(value if value is not None else ""))
    except ValueError:
        raise InvalidInput(f"{key} is a number and cannot be compared with {value!r}.") from None


def require_text(comparison: Comparison) -> Comparison:
    """Raises InvalidInput where the comparison is none of texts."""
    key, operator, value = comparison.name.key, comparison.operator, comparison.value
    values = value if isinstance(value, tuple) else (value,)
    if value is not None and not all(isinstance(item, str) for item in values):
        raise InvalidInput(f"{key} is a text: write its value in quotes, {operator} '{value}'.")
    if operator in (">", ">=", "<", "<="):
        raise InvalidInput(f"{key} is a text and cannot be compared with {operator}.")
    return comparison


def _comparison(tokens: list[_Token], position: int, text: str) -> tuple[Comparison, int]:
    name_token = _at(tokens, position, text)
    if name_token.kind != "name":
        raise _invalid(text, f"expected a name, found {name_token.text}")
    name = parse_name(name_token.text)
    operator = _at(tokens, position + 1, text)
    word = operator.text.upper()
    if operator.kind == "operator" or word in ("LIKE", "ILIKE"):
        return Comparison(name, word, _value(_at(tokens, position + 2, text), text)), position + 3
    if word == "IN":
        values, end = _values(tokens, position + 2, text)
        return Comparison(name, "IN", values), end
    if word == "NOT":
        _expect(tokens, position + 2, "IN", text)
        values, end = _values(tokens, position + 3, text)
        return Comparison(name, "NOT IN", values), end
    if word == "IS":
        negated = _at(tokens, position + 2, text).text.upper() == "NOT"
        _expect(tokens, position + 3 if negated else position + 2, "NULL", text)
        return Comparison(name, "IS NOT NULL" if negated else "IS NULL", None), position + (4 if negated else 3)
    raise _invalid(text, f"expected an operator after {name_token.text}, found {operator.text}")


def _values(tokens: list[_Token], position: int, text: str) -> tuple[tuple[Value, ...], int]:
    _expect(tokens, position, "(", text)
    values = []
    while True:
        values.append(_value(_at(tokens, position + 1, text), text))
        position += 2
        separator = _at(tokens, position, text).text
        if separator == ")":
            return tuple(values), position + 1
        _expect(tokens, position, ",", text)


def _value(token: _Token, text: str) -> Value:
    if token.kind == "number":
        return float(token.text)
    if token.kind == "string":
        return re.sub(r"\\(.)|''", lambda found: found[1] or "'", token.text[1:-1])
    if token.kind == "name" and token.text.startswith('"'):
        return token.text[1:-1]
    raise _invalid(text, f"expected a value in quotes or a number, found {token.text}")


def _tokenize(text: str) -> list[_Token]:
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            raise _invalid(text, f"cannot read from {text[position:end].strip()[:30]!r}")
        assert found.lastgroup is not None
        tokens.append(_Token(found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return tokens


def _at(tokens: list[_Token], position: int, text: str) -> _Token:
    if position >= len(tokens):
        raise _invalid(text, "it ends too early")
    return tokens[position]


def _expect(tokens: list[_Token], position: int, word: str, text: str) -> None:
    found = _at(tokens, position, text)
    if found.text.upper() != word:
        raise _invalid(text, f"expected {word}, found {found.text}")


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in '`"' and text[-1] == text[0] else text


def _invalid(text: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"the filter {text!r} cannot be read: {why}.",
        hint="write comparisons joined by AND: metrics.auc > 0.9 AND params.depth = '3'",
    )
