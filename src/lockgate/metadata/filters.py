"""MLflow's filter language, and what it lacks: OR, NOT and parentheses. Text -> a tree of comparisons.

    filter      term (OR term)*
    term        factor (AND factor)*
    factor      NOT factor  |  (filter)  |  comparison
    comparison  name operator value
                name [NOT] LIKE value  |  name [NOT] ILIKE value
                name [NOT] IN (value, ...)  |  name [NOT] BETWEEN value AND value
                name IS [NOT] NULL
    name        [entity.]key, the key in backticks or quotes where it holds anything but letters, digits, _ . - /;
                the entity may be in backticks as well
    value       a number, or a text in single quotes: in it '' and \\' are a quote, and a backslash is one but where it
                stands before a quote or the end, where two are one
    operator    =  !=  >  >=  <  <=

`metrics.auc > 0.9 AND (tags.team = 'a' OR NOT params.depth IN ('1', '2'))`

Before the filter, behind it and before another one an AND means nothing, as MLflow's server has it: programs write them
around a text that may be empty.

A comparison holds or does not: what has no such metric, param or tag satisfies none of its comparisons but IS NULL.
`NOT` is the complement, so `NOT metrics.auc > 0.9` holds where auc is at most 0.9, is NaN, or was never logged, while
`metrics.auc <= 0.9` asks for a value. `name NOT IN ...` belongs to the comparison and asks for a value as well.

Parsing is pure and knows nothing of tables; `conditions` makes SQL of a tree.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from lockgate.errors import InvalidInput
from lockgate.metadata.limits import MOST_ORDERS

# Limits that no person meets; a program's endless filter is refused before it costs anything.
MAX_LENGTH = 100_000
MAX_COMPARISONS = 200
MAX_VALUES = 10_000
MAX_DEPTH = 20  # SQLite reads a statement with a stack of 100, and each level takes three of them

Value: TypeAlias = str | int | float


class Name(NamedTuple):
    """`entity` is empty where the filter names none."""

    entity: str
    key: str

    @property
    def is_attribute(self) -> bool:
        return self.entity in ("", "attribute")


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operator` in capitals; `value` is a tuple for IN and BETWEEN, and None for IS NULL.

    `number` is a value as it was written, where it is one number.
    """

    name: Name
    operator: str
    value: Value | tuple[Value, ...] | None
    number: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """All of them; of none it holds always."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """The complement."""

    part: "Filter"


Filter: TypeAlias = And | Or | Not | Comparison
EVERYTHING = And(())


class Order(NamedTuple):
    """One term of `order_by`."""

    name: Name
    ascending: bool


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
    (?P<string>'(?:[^'\\]|\\+(?![\\'])|(?:\\\\)*\\'|(?:\\\\)+(?=')|'')*')
  | (?P<number>[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?(?![\w.]))
  | (?P<operator><=|>=|!=|=|<|>)
  | (?P<punctuation>[(),])
  | (?P<name>(?:`[A-Za-z_]\w*`\.|[A-Za-z_]\w*\.)(?:`[^`]+`|"[^"]*"|'[^']+')
            |`[A-Za-z_]\w*`\.[\w./\-]+|`[^`]+`|"[^"]*"|[A-Za-z_][\w./\-]*)
    )""",
    re.VERBOSE,
)
_BACKTICKED = re.compile(r"`\w+`")
_ESCAPED = re.compile(r"\\+'?|''")
_INTEGER = re.compile(r"[-+]?\d+")
_WORDS = frozenset({"AND", "OR", "NOT"})


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def word(self) -> str:
        return self.text.upper() if self.kind != "string" else ""


def parse_filter(text: str) -> Filter:
    """The tree; `EVERYTHING` for an empty text. Raises InvalidInput that says where the filter stops making sense."""
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f"the filter has {len(text)} characters, expected at most {MAX_LENGTH}.")
    return _Parser(text, _tokenize(text)).whole()


def parse_name(text: str) -> Name:
    """`metrics.auc`, "params.`learning rate`" or `start_time`. Raises InvalidInput for an entity nobody knows."""
    head, dot, rest = text.partition(".")
    if _BACKTICKED.fullmatch(head):
        head = head[1:-1]
    if dot and head[:1] not in '`"':
        entity = _ENTITIES.get(head)
        if entity is None:
            known = ", ".join(sorted(set(_ENTITIES.values())))
            raise InvalidInput(f"{head!r} in {text!r} is none of: {known}.")
        return Name(entity, _unquote(rest))
    return Name("", _unquote(text))


def parse_order(terms: Sequence[str]) -> list[Order]:
    """`metrics.auc DESC` and the like. Raises InvalidInput, also for a name that is given twice."""
    if len(terms) > MOST_ORDERS:
        raise InvalidInput(f"order_by has at most {MOST_ORDERS} terms. Received {len(terms)}.")
    found: list[Order] = []
    for text in terms:
        words = text.strip().rsplit(None, 1)
        ascending = True
        if len(words) == 2 and words[1].upper() in ("ASC", "DESC"):
            ascending = words[1].upper() == "ASC"
            words = words[:1]
        if not words:
            raise InvalidInput("an order_by term is empty.")
        tokens = _tokenize(" ".join(words))
        if [token.kind for token in tokens] != ["name"]:
            raise InvalidInput(f"the order_by term {text!r} cannot be read.", hint="write: metrics.auc DESC")
        found.append(Order(parse_name(tokens[0].text), ascending))
    if len({order.name for order in found}) < len(found):
        raise InvalidInput(f"order_by names something twice: {', '.join(terms)}.")
    return found


class _Parser:
    """Recursive descent over tokens, one method a rule of the grammar."""

    def __init__(self, text: str, tokens: Sequence[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._position = 0
        self._comparisons = 0
        self._values = 0

    def whole(self) -> Filter:
        self._skip("AND")
        if self._is_over():
            return EVERYTHING
        found = self._any(0)
        if not self._is_over():
            raise self._invalid(f"expected AND or OR, found {self._next().text}")
        return found

    def _any(self, depth: int) -> Filter:
        parts = [self._all(depth)]
        while self._take("OR"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self, depth: int) -> Filter:
        parts = [self._factor(depth)]
        while self._skip("AND") and not self._is_over():
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _factor(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise self._invalid(f"it is nested more than {MAX_DEPTH} deep")
        if self._take("NOT"):
            return Not(self._factor(depth + 1))
        if self._take("("):
            inner = self._any(depth + 1)
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise self._invalid(f"it has more than {MAX_COMPARISONS} comparisons")
        token = self._next()
        if token.kind != "name" or token.word in _WORDS:
            raise self._invalid(f"expected a name, found {token.text}")
        name = parse_name(token.text)
        operator = self._next()
        if operator.kind == "operator":
            return self._with_value(name, operator.text)
        if operator.word == "IS":
            negated = self._take("NOT")
            self._expect("NULL")
            return Comparison(name, "IS NOT NULL" if negated else "IS NULL", None)
        negation, word = "", operator.word
        if word == "NOT":
            negation, word = "NOT ", self._next().word
        if word in ("LIKE", "ILIKE"):
            return self._with_value(name, negation + word)
        if word == "IN":
            return Comparison(name, negation + word, self._list())
        if word == "BETWEEN":
            low = self._value()
            self._expect("AND")
            return Comparison(name, negation + word, (low, self._value()))
        raise self._invalid(f"expected an operator after {token.text}, found {operator.text}")

    def _with_value(self, name: Name, operator: str) -> Comparison:
        value = self._value()
        written = self._tokens[self._position - 1]
        return Comparison(name, operator, value, written.text if written.kind == "number" else "")

    def _list(self) -> tuple[Value, ...]:
        self._expect("(")
        values = [self._value()]
        while not self._take(")"):
            self._expect(",")
            if self._take(")"):  # as Python writes a tuple of one
                break
            values.append(self._value())
        return tuple(values)

    def _value(self) -> Value:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._invalid(f"it has more than {MAX_VALUES} values")
        token = self._next()
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "string":
            return _ESCAPED.sub(_unescaped, token.text[1:-1])
        if token.kind == "name" and token.text.startswith('"'):
            return token.text[1:-1]
        raise self._invalid(f"expected a value in quotes or a number, found {token.text}")

    def _is_over(self) -> bool:
        return self._position >= len(self._tokens)

    def _next(self) -> _Token:
        if self._is_over():
            raise self._invalid("it ends too early")
        self._position += 1
        return self._tokens[self._position - 1]

    def _take(self, word: str) -> bool:
        found = not self._is_over() and self._tokens[self._position].word == word
        self._position += found
        return found

    def _skip(self, word: str) -> bool:
        """All of them that are next; whether there was one."""
        start = self._position
        while self._take(word):
            pass
        return self._position > start

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._invalid(f"expected {word}, found {self._next().text}")

    def _invalid(self, why: str) -> InvalidInput:
        return _invalid(self._text, why)


def _number(text: str) -> int | float:
    """A whole number that a column can hold stays one: an index of whole numbers serves no fractions."""
    if _INTEGER.fullmatch(text) and len(text) < 19:
        return int(text)
    return float(text)


def _unescaped(found: re.Match[str]) -> str:
    text = found[0]
    backslashes = text.count("\\")
    if not backslashes:
        return "'"
    if not text.endswith("'"):
        return text if found.end() < len(found.string) else text[: backslashes // 2]
    # Behind an even number of them the quote is the first of two, and the second one is left as it is.
    return "\\" * (backslashes // 2) + "'" * (backslashes % 2)


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
    if "\0" in text:
        raise _invalid(text, "it has a NUL character")
    return tokens


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in "`\"'" and text[-1] == text[0] else text


def _invalid(text: str, why: str) -> InvalidInput:
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    return InvalidInput(
        f"the filter {shown!r} cannot be read: {why}.",
        hint="write comparisons joined by AND, OR and NOT: metrics.auc > 0.9 AND NOT params.depth = '3'",
    )
