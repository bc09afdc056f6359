"""Pages of a search: an opaque token that holds the sort key of the last row, so that the next page starts after it.

Rows that are added or removed meanwhile move no page: nothing is seen twice, and nothing that was there is left out.

A search that is ordered by what some rows lack reads them in stretches, one query each: first the rows that have it, in
the order of its index, then those that do not. `rank` numbers the stretches and begins the key, so that a token leads
back into the same place whichever way the rows are read.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, RowMapping, Select, and_, or_

from lockgate.errors import InvalidInput
from lockgate.hashing import digest_canonical
from lockgate.metadata.driver import plain_rows
from lockgate.metadata.tables import indexed_part

LARGEST = 50_000
_VERSION = 2
_MAX_TOKEN = 1 << 22  # it may hold 32 texts of 8,000 characters, and each of them twice

Key: TypeAlias = tuple[int | float | str, ...]


class Sort(NamedTuple):
    """One column of the order; never NULL. `type` is what its values are in Python."""

    column: ColumnElement[Any]
    ascending: bool
    type: type[int] | type[float] | type[str]


class Stretch(NamedTuple):
    """Rows whose sort key begins with `first` and goes on with `sorts`; the last of these is unique."""

    query: Select[*tuple[Any, ...]]
    sorts: tuple[Sort, ...]
    first: Key = ()


class Page(NamedTuple):
    """Some rows; `next_token` is empty on the last page."""

    found: Sequence[Row[*tuple[Any, ...]]]
    next_token: str

    @property
    def rows(self) -> list[RowMapping]:
        """The rows, where they are not plain, by the names of their columns; this takes as long as reading them."""
        return [row._mapping for row in self.found]  # SQLAlchemy's documented name for it


class _Token(msgspec.Struct, array_like=True, frozen=True):
    version: int
    question: str
    key: Key


def fetch_page(
    connection: Connection,
    stretches: Iterable[Stretch],
    *,
    max_results: int,
    token: str,
    question: Sequence[object],
    largest: int = LARGEST,
    is_plain: bool = False,
) -> Page:
    """Rows of the stretches, one after the other; beside what the queries select, each holds its sort key.

    Of stretches of one rank, none may come whose rows all precede `place_of(token)`. `question` is all that decides
    which rows there are and in which order. A page that `is_plain` has the driver's tuples (`plain_rows`). Raises
    InvalidInput for a page size that is not 1 to `largest`.
    """
    require_page_size(max_results, largest)
    after = place_of(token, question)
    is_sqlite = connection.dialect.name == "sqlite"
    rows: list[Row[*tuple[Any, ...]]] = []
    read: list[tuple[int, Stretch]] = []
    for stretch in stretches:
        query = stretch.query
        if after is not None:
            place = place_in(stretch, after)
            if place is None:
                continue
            if place:
                query = query.where(_after(stretch.sorts, place))
        query = query.add_columns(*(sort.column.label(f"_sort_{i}") for i, sort in enumerate(stretch.sorts)))
        # In SQLite the indexed part of a text is all of it, and the same column twice would cost it a sort.
        told = [s for s in stretch.sorts if not (is_sqlite and isinstance(s.column, indexed_part))]
        query = query.order_by(*(s.column.asc() if s.ascending else s.column.desc() for s in told))
        read.append((len(rows), stretch))
        query = query.limit(max_results + 1 - len(rows))
        rows += plain_rows(connection, query) if is_plain else connection.execute(query).all()
        if len(rows) > max_results:
            stretch = next(known for start, known in reversed(read) if start < max_results)
            key = (*stretch.first, *rows[max_results - 1][-len(stretch.sorts) :])
            return Page(rows[:max_results], _encode(_asked(question), key))
    return Page(rows, "")


def place_of(token: str, question: Sequence[object]) -> Key | None:
    """The sort key of the row after which the page of this token begins; None for the first page.

    Raises InvalidInput for a token of another question, and for one that is none of ours.
    """
    return _decode(token, _asked(question)) if token else None


def require_page_size(max_results: int, largest: int) -> None:
    """Raises InvalidInput in the words of MLflow's server."""
    if max_results < 1:
        raise InvalidInput(f"Invalid value {max_results} for parameter 'max_results' supplied. It must be at least 1.")
    if max_results > largest:
        raise InvalidInput(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be at most {largest}."
        )


def place_in(stretch: Stretch, after: Key) -> Key | None:
    """Where in the stretch to go on: after this key, from its start for an empty one, not at all for None.

    Raises InvalidInput for a key that is none of the stretch's order.
    """
    rest = after[len(stretch.first) :]
    if stretch.first:
        rank = after[0]
        if not isinstance(rank, int):
            raise _foreign()
        if rank != stretch.first[0]:
            return None if rank > stretch.first[0] else ()  # type: ignore[operator]  # ranks are whole numbers
        if after[: len(stretch.first)] != stretch.first:
            return ()  # a later one of the same rank
    if len(rest) != len(stretch.sorts):
        raise _foreign()
    for value, sort in zip(rest, stretch.sorts, strict=True):
        if not isinstance(value, sort.type):
            raise _foreign()
    return rest


def _after(sorts: Sequence[Sort], key: Key) -> ColumnElement[bool]:
    """Rows that come later than `key`. The first condition repeats what the others imply: an index can start there."""
    (column, ascending, _), value = sorts[0], key[0]
    if len(sorts) == 1:
        return _beyond(sorts, key)
    return and_(column >= value if ascending else column <= value, _beyond(sorts, key))


def _beyond(sorts: Sequence[Sort], key: Key) -> ColumnElement[bool]:
    """By halves, for SQLite reads no statement that is nested as deep as an order may be long."""
    if len(sorts) == 1:
        (column, ascending, _), value = sorts[0], key[0]
        return column > value if ascending else column < value
    half = len(sorts) // 2
    same = (sort.column == value for sort, value in zip(sorts[:half], key, strict=False))
    return or_(_beyond(sorts[:half], key[:half]), and_(*same, _beyond(sorts[half:], key[half:])))


def _asked(question: Sequence[object]) -> str:
    return digest_canonical("search", [repr(item) for item in question])[:16]


def _encode(question: str, key: Key) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(_Token(_VERSION, question, key))).decode()


def _decode(token: str, question: str) -> Key:
    try:
        if len(token) > _MAX_TOKEN:
            raise ValueError(len(token))
        data = base64.urlsafe_b64decode(token.encode())
        if data[:1] == b"o" and data[1:].isdigit():
            raise InvalidInput(
                "the page token was made by an earlier version of this server.", hint="start from the first page again"
            )
        found = msgspec.msgpack.decode(data, type=_Token)
        if found.version != _VERSION or not found.key or not all(_is_storable(value) for value in found.key):
            raise ValueError(found)
    except (ValueError, binascii.Error, UnicodeError, msgspec.DecodeError):
        raise _foreign() from None
    if found.question != question:
        raise InvalidInput(
            "the page token belongs to another search.",
            hint="ask for the next page with the same filter, order, view and ids as for the first",
        )
    return found.key


def _is_storable(value: int | float | str) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return isinstance(value, float) or -(2**63) <= value < 2**63


def _foreign() -> InvalidInput:
    return InvalidInput("Invalid page token: it is none of this server.", hint="start from the first page again")
