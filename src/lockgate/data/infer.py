"""A first contract from one good file: loose enough that the next good file keeps it, tight enough to stop a bad one.

ranges      widened by a fifth of their width on both sides; a column without negative values stays without
categories  only where few values occur and each is frequent enough that the next file holds no new one
unique      only for columns that look like keys: every value there, every value once, integers or short texts
missing     twice the share seen; none where none was seen
rows        half of what was seen, no upper limit
"""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import polars as pl

from lockgate.data.contract import Column, Contract, Drift, Rows
from lockgate.data.profile import type_family
from lockgate.errors import InvalidInput

_MAX_CATEGORIES = 30
_LABEL_CLASSES = 50
_KEY_WORDS = ("id", "key", "uuid", "guid", "number", "no", "code")


def infer_contract(frame: pl.DataFrame, *, label: str | None = None) -> Contract:
    """The contract that this table and its like keep. The label is never missing, and its classes are fixed.

    Raises InvalidInput where there are no rows or no such label.
    """
    if frame.height == 0:
        raise InvalidInput("a contract cannot be inferred from a table without rows.")
    if label is not None and label not in frame.columns:
        raise InvalidInput(f"there is no column {label!r}; there are: {', '.join(frame.columns)}.")
    columns = {name: _column(frame[name], is_label=name == label) for name in frame.columns}
    return Contract(columns=columns, rows=Rows(min=max(1, frame.height // 2)), drift=Drift())


def notes(frame: pl.DataFrame) -> dict[str, str]:
    """What was seen in each column, as a comment beside what is expected of it."""
    return {name: _seen(frame[name]) for name in frame.columns}


def _column(series: pl.Series, *, is_label: bool) -> Column:
    family: Any = type_family(series.dtype)  # one of the contract's types, or other
    missing = series.null_count() + (int(series.is_nan().sum()) if series.dtype.is_float() else 0)
    present = series.drop_nulls()
    if series.dtype.is_float():
        present = present.drop_nans()
        family = "integer" if missing and len(present) and _is_whole(present) else family
    share = missing / len(series)
    low, high = _range(present, family, is_label=is_label)
    return Column(
        type=family if family != "other" else "any",
        nullable=missing > 0 and not is_label,
        max_missing=math.ceil(min(1.0, 2 * share) * 100) / 100 if 0 < share < 0.5 and not is_label else None,
        min=low,
        max=high,
        categories=_categories(present, family, is_label=is_label),
        unique=_is_key(present, family, missing),
    )


def _is_whole(values: pl.Series) -> bool:
    """Integers with missing values arrive as floating point from pandas."""
    return bool(((values == values.floor()) & (values.abs() < 2**53)).all())


def _range(values: pl.Series, family: str, *, is_label: bool) -> tuple[float | None, float | None]:
    if family not in ("integer", "number") or values.is_empty():
        return None, None
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]  # numbers, by the family
    if not (math.isfinite(low) and math.isfinite(high)):
        return None, None
    if set(values.head(10_000).unique()) <= {0, 1} and (low, high) in ((0, 1), (0, 0), (1, 1)):
        return 0, 1
    if is_label and family == "integer" and values.n_unique() <= _LABEL_CLASSES:
        return None, None  # its categories say more
    if _is_key(values, family, 0):
        return (0, None) if low >= 0 else (None, None)
    width = (high - low) / 5 or abs(high) / 5 or 1.0
    first, last = values.quantile(0.01), values.quantile(0.99)
    assert first is not None and last is not None
    bottom = low - max(width, first - low)
    top = high + max(width, high - last)
    # to two significant digits of the width, so that the file reads well
    digits = 1 - math.floor(math.log10(width))
    digits = min(digits, 0) if family == "integer" else digits
    return (
        0.0 if low >= 0 and bottom < 0 else _outwards(bottom, digits, down=True),
        0.0 if high <= 0 and top > 0 else _outwards(top, digits, down=False),
    )


def _outwards(value: float, digits: int, *, down: bool) -> float:
    """Rounded away from what was seen. Decimal, because 0.1 + 0.2 must not be written as 0.30000000000000004."""
    step = Decimal(1).scaleb(-digits)
    # a hair inwards first: 12 significant digits are what was measured, the rest is noise of the arithmetic
    measured = Decimal(f"{value:.12g}")
    return float((measured / step).to_integral_value(ROUND_FLOOR if down else ROUND_CEILING) * step)


def _categories(values: pl.Series, family: str, *, is_label: bool) -> list[bool | int | float | str] | None:
    if values.is_empty() or not (family == "string" or (is_label and family in ("integer", "boolean"))):
        return None
    counted = values.value_counts(name="rows")
    limit = _LABEL_CLASSES if is_label else _MAX_CATEGORIES
    if counted.height > limit or len(values) < 20 * counted.height:
        return None
    if not is_label and counted.filter(pl.col("rows") == 1).height > 1:
        return None  # values seen once promise more that were not seen (Good and Turing)
    found = counted[values.name].to_list()
    if family == "integer":
        return sorted(int(value) for value in found)
    return sorted(found, key=str)


def _is_key(values: pl.Series, family: str, missing: int) -> bool:
    if missing or len(values) < 2 or family not in ("integer", "string"):
        return False
    words = values.name.lower().replace("-", "_").split("_")
    named = words[-1] in _KEY_WORDS or words[0] in _KEY_WORDS or words[-1].endswith("id")
    return named and values.n_unique() == len(values)


def _seen(series: pl.Series) -> str:
    """The comment beside a column: what the file held."""
    missing = series.null_count() / max(1, len(series))
    lacks = f", {missing:.2%} missing" if missing else ""
    present = series.drop_nulls()
    if present.dtype.is_float():
        present = present.drop_nans()
    if present.is_empty():
        return "no value seen"
    if present.dtype.is_numeric():
        return f"seen {_plain(present.min())} to {_plain(present.max())}{lacks}"
    if present.dtype in (pl.String, pl.Categorical, pl.Enum):
        return f"{present.n_unique()} different{lacks}"
    if present.dtype in (pl.Date, pl.Datetime):
        return f"seen {_plain(present.min())} to {_plain(present.max())}{lacks}"
    return lacks.removeprefix(", ")


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else f"{value!s}"
