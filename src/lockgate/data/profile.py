"""What the rows of a table looked like, in a few kilobytes a column: bins for numbers, counts for categories.

A reference fixes the bins from its own rows: quantiles, so that every bin holds about the same share, a bin of its own
for every value that is frequent, and one bin below and one above all that the reference has seen. A profile of other
rows is made with the reference's bins, so counts compare bin by bin, and profiles with the same bins merge exactly:
`merge(profile(x), profile(y)) == profile(x + y)`. Replicas and windows can therefore be summed without their rows.

Counting sorts blocks that fit the processor's cache and looks the edges up in them: exact, 6 times faster than looking
every value up among the edges, and as fast as histograms over floating point bits, which lose a narrow mode that lies
far from the median.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from lockgate.entities import Record
from lockgate.errors import DataDamaged, InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

PREDICTION = "prediction"  # the column of a profile that holds what the model answered

_BINS = 64
_CATEGORIES = 100
_EDGE_SAMPLE = 10_000  # rows that quantiles are taken from; all rows are counted
_BLOCK = 65_536
_PARALLEL_FROM = 500_000  # cells


class _Counted(Record, frozen=True, kw_only=True, tag_field="kind"):
    """What every column has. `invalid` counts values that are not of the reference's type."""

    type: str  # integer, number, boolean, string, datetime, other
    rows: int
    missing: int = 0
    invalid: int = 0


class NumericProfile(_Counted, frozen=True, kw_only=True, tag="numeric"):
    """`counts[i]` values lie in [edges[i - 1], edges[i]); the first count lies below and the last above the reference.

    `low` and `high` are the least and the greatest finite value of these rows; NaN is counted apart.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    nan: int = 0
    low: float | None = None
    high: float | None = None


class CategoricalProfile(_Counted, frozen=True, kw_only=True, tag="categorical"):
    """`counts[i]` rows have `categories[i]`; the last count is all others."""

    categories: tuple[str, ...]
    counts: tuple[int, ...]


class PlainProfile(_Counted, frozen=True, kw_only=True, tag="plain"):
    """A column whose values are not counted: a time moves on by itself, a list or a struct has no bins."""


ColumnProfile = NumericProfile | CategoricalProfile | PlainProfile


class Profile(Record, frozen=True, kw_only=True):
    """All columns of some rows."""

    rows: int
    columns: dict[str, ColumnProfile]


def profile_frame(frame: "pl.DataFrame", *, reference: Profile | None = None) -> Profile:
    """The profile of these rows: with bins of their own, or with the reference's bins and columns.

    A column that the reference has and the frame lacks counts as missing in every row; one that only the frame has is
    left out.
    """
    names = frame.columns if reference is None else list(reference.columns)

    def one(name: str) -> ColumnProfile:
        if reference is None:
            return _own_profile(frame[name])
        return _compared_profile(frame.get_column(name, default=None), frame.height, reference.columns[name])

    return Profile(rows=frame.height, columns=dict(zip(names, _each(one, names, frame.height), strict=True)))


def merge(first: Profile, *others: Profile) -> Profile:
    """The profile of all rows together. Raises InvalidInput where two have different bins."""
    merged = first
    for other in others:
        if merged.columns.keys() != other.columns.keys():
            raise InvalidInput("profiles of different columns do not merge.")
        columns = {name: _merge_column(name, merged.columns[name], other.columns[name]) for name in merged.columns}
        merged = Profile(rows=merged.rows + other.rows, columns=columns)
    return merged


def encode_profile(profile: Profile) -> bytes:
    """JSON, about 2 KB a column."""
    return msgspec.json.encode(profile)


def decode_profile(data: bytes) -> Profile:
    """The profile in these bytes. Raises DataDamaged."""
    try:
        return msgspec.json.decode(data, type=Profile)
    except msgspec.DecodeError as error:
        raise DataDamaged(f"a stored profile cannot be read: {error}.") from error


def type_family(dtype: "pl.DataType") -> str:
    """The word that contracts and profiles use for a Polars type."""
    import polars as pl

    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "string"
    if dtype in (pl.Date, pl.Datetime):
        return "datetime"
    return "other"


def _each(one: Callable[[str], ColumnProfile], names: Sequence[str], rows: int) -> list[ColumnProfile]:
    """Columns are independent and numpy sorts without the interpreter's lock."""
    if rows * len(names) < _PARALLEL_FROM:
        return [one(name) for name in names]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        return list(pool.map(one, names))


def _own_profile(series: "pl.Series") -> ColumnProfile:
    import polars as pl

    family = type_family(series.dtype)
    common = {"type": family, "rows": len(series), "missing": series.null_count()}
    if family in ("integer", "number"):
        values = series.drop_nulls().cast(pl.Float64).to_numpy()
        return _count_numbers(values, edges_of(values), common)
    if family in ("boolean", "string"):
        counted = series.drop_nulls().cast(pl.String).value_counts(sort=True, name="rows")
        # ties are broken by name, so that the same rows always make the same profile
        names = counted.sort("rows", series.name, descending=[True, False])[series.name].head(_CATEGORIES)
        return count_categories(dict(counted.iter_rows()), tuple(sorted(names)), common)
    return PlainProfile(**common)  # type: ignore[arg-type]  # one dict of three known fields


def _compared_profile(series: "pl.Series | None", rows: int, reference: ColumnProfile) -> ColumnProfile:
    import polars as pl

    if series is None:
        series = pl.Series("missing", [None], dtype=pl.Null).new_from_index(0, rows)
    missing = series.null_count()
    converted = _as_type(series, reference.type)
    common = {
        "type": reference.type,
        "rows": rows,
        "missing": missing,
        "invalid": converted.null_count() - missing,
    }
    if isinstance(reference, NumericProfile):
        import numpy as np

        values = converted.drop_nulls().to_numpy()
        return _count_numbers(values, np.asarray(reference.edges, dtype=np.float64), common)
    if isinstance(reference, CategoricalProfile):
        counted = converted.drop_nulls().value_counts(name="rows")
        return count_categories(dict(counted.iter_rows()), reference.categories, common)
    return PlainProfile(**{**common, "invalid": 0})  # type: ignore[arg-type]  # one dict of four known fields


def _as_type(series: "pl.Series", type_: str) -> "pl.Series":
    """The values as the reference counts them; null where a value is of another type."""
    import polars as pl

    if type_ in ("integer", "number"):
        if series.dtype == pl.String or series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null):
            return series.cast(pl.Float64, strict=False)
        return pl.Series(series.name, [None], dtype=pl.Float64).new_from_index(0, len(series))
    if type_ == "boolean" and series.dtype.is_numeric():
        return series.cast(pl.Float64).replace_strict({0.0: "false", 1.0: "true"}, default=None, return_dtype=pl.String)
    if type_ in ("string", "boolean") and not series.dtype.is_nested():
        return series.cast(pl.String, strict=False)
    return series


def edges_of(values: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    """Ascending edges of about equally full bins over finite values, with frequent values in bins of their own."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.empty(0)
    low, high = finite.min(), finite.max()
    sample = np.sort(finite[:: max(1, finite.size // _EDGE_SAMPLE)])
    first = np.flatnonzero(np.diff(sample, prepend=np.nan) != 0)  # where each distinct value begins
    if first.size <= _BINS:
        edges = sample[first]
    else:
        inner = sample[np.linspace(0, sample.size - 1, _BINS + 1).astype(np.int64)]
        frequent = sample[first[np.diff(first, append=sample.size) > sample.size / _BINS]]
        edges = np.concatenate([inner, frequent, np.nextafter(frequent, np.inf)])
    # values of the last bin end at `high`, so that the count above is what the reference never saw
    with np.errstate(over="ignore"):  # above the greatest number there is only infinity, which is no edge
        edges = np.unique(np.concatenate([edges, [low, np.nextafter(high, np.inf)]]))
    return edges[np.isfinite(edges)] + 0.0  # -0.0 and 0.0 are one value; JSON must not tell them apart


def _count_numbers(
    values: "npt.NDArray[np.float64]", edges: "npt.NDArray[np.float64]", common: dict[str, object]
) -> NumericProfile:
    import numpy as np

    below = np.zeros(edges.size, dtype=np.int64)
    valid, low, high = 0, np.inf, -np.inf
    for start in range(0, values.size, _BLOCK):
        block = np.sort(values[start : start + _BLOCK])
        count = int(np.searchsorted(block, np.inf, side="right"))  # NaN is sorted behind everything
        below += np.searchsorted(block, edges, side="left")
        valid += count
        first, last = np.searchsorted(block, -np.inf, side="right"), np.searchsorted(block, np.inf, side="left")
        if first < last:
            low, high = min(low, block[first]), max(high, block[last - 1])
    counts = np.diff(below, prepend=0, append=valid)
    return NumericProfile(
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        nan=values.size - valid,
        low=float(low) + 0.0 if low <= high else None,
        high=float(high) + 0.0 if low <= high else None,
        **common,  # type: ignore[arg-type]  # type, rows, missing, invalid
    )


def count_categories(
    found: Mapping[str, int], categories: tuple[str, ...], common: dict[str, object]
) -> CategoricalProfile:
    """The profile of a column from how often each value was found."""
    counts = tuple(found.get(category, 0) for category in categories)
    other = sum(found.values()) - sum(counts)
    return CategoricalProfile(categories=categories, counts=(*counts, other), **common)  # type: ignore[arg-type]  # same


def _merge_column(name: str, a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    common = {"rows": a.rows + b.rows, "missing": a.missing + b.missing, "invalid": a.invalid + b.invalid}
    if isinstance(a, NumericProfile) and isinstance(b, NumericProfile) and a.edges == b.edges:
        lows = [value for value in (a.low, b.low) if value is not None]
        highs = [value for value in (a.high, b.high) if value is not None]
        return msgspec.structs.replace(
            a,
            counts=_sum(a.counts, b.counts),
            nan=a.nan + b.nan,
            low=min(lows, default=None),
            high=max(highs, default=None),
            **common,
        )
    if isinstance(a, CategoricalProfile) and isinstance(b, CategoricalProfile) and a.categories == b.categories:
        return msgspec.structs.replace(a, counts=_sum(a.counts, b.counts), **common)
    if isinstance(a, PlainProfile) and isinstance(b, PlainProfile):
        return msgspec.structs.replace(a, **common)
    raise InvalidInput(f"the profiles of column {name!r} have different bins and do not merge.")


def _sum(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))
