"""The profile of logged rows in the bins of a reference, from plain Python values.

The same counts as `profile_frame` makes with Polars, for a process that must stay small beside the models that it
watches: importing Polars and numpy would take 35 MB. The rows' values are sorted and the edges looked up among them,
which takes a tenth of a microsecond a value.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from lockgate.data.profile import (
    CategoricalProfile,
    ColumnProfile,
    NumericProfile,
    PlainProfile,
    Profile,
    count_categories,
)
from lockgate.entities import Scalar

_Value = bool | int | float | str


def profile_values(columns: Mapping[str, Sequence[Scalar]], *, rows: int, reference: Profile) -> Profile:
    """The profile of these rows with the reference's bins and columns; None is a missing value.

    A column that the reference has and `columns` lacks is missing in every row. Every value counts for itself: in a
    column where one client sends text and another numbers, the text that reads as a number is one.
    """
    nothing = [None] * rows
    counted = {name: _column(columns.get(name, nothing), past) for name, past in reference.columns.items()}
    return Profile(rows=rows, columns=counted)


def _column(values: Sequence[Scalar], reference: ColumnProfile) -> ColumnProfile:
    present: list[_Value] = [value for value in values if value is not None]
    common: dict[str, object] = {"type": reference.type, "rows": len(values), "missing": len(values) - len(present)}
    if isinstance(reference, NumericProfile):
        numbers = _numbers(present)
        common["invalid"] = len(present) - len(numbers)
        return _count_numbers(numbers, reference.edges, common)
    if isinstance(reference, CategoricalProfile):
        read = _flag if reference.type == "boolean" else _text
        names = [name for value in present if (name := read(value)) is not None]
        common["invalid"] = len(present) - len(names)
        return count_categories(Counter(names), reference.categories, common)
    return PlainProfile(**common)  # type: ignore[arg-type]  # one dict of three known fields


def _numbers(present: list[_Value]) -> list[float]:
    if set(map(type, present)) <= {float}:
        return present  # type: ignore[return-value]  # as the line above says
    return [number for value in present if (number := _number(value)) is not None]


def _number(value: _Value) -> float | None:
    """As Polars reads it: in a text no blanks around the number and no underscores in it."""
    if isinstance(value, str) and (not value.isascii() or "_" in value or value != value.strip()):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _flag(value: _Value) -> str | None:
    if isinstance(value, str):
        return value
    return "true" if value == 1 else "false" if value == 0 else None


def _text(value: _Value) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _count_numbers(values: list[float], edges: Sequence[float], common: dict[str, object]) -> NumericProfile:
    known = sorted(value for value in values if value == value)
    below = [bisect_left(known, edge) for edge in edges]
    finite = known[bisect_right(known, -math.inf) : bisect_left(known, math.inf)]
    return NumericProfile(
        edges=tuple(edges),
        counts=tuple(after - before for before, after in pairwise([0, *below, len(known)])),
        nan=len(values) - len(known),
        low=finite[0] + 0.0 if finite else None,
        high=finite[-1] + 0.0 if finite else None,
        **common,  # type: ignore[arg-type]  # type, rows, missing, invalid
    )
