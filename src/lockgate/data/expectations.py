"""A contract against a table: all expectations in one pass, then a second look at the rows that broke one.

Most files keep their contract, so the pass asks for as little as decides: a column's least value instead of how many
lie below the bound. Only a broken expectation is counted and shown with rows. Row numbers count from 1, without the
header.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import polars as pl

from lockgate.data.contract import Column, Contract
from lockgate.data.failure import Failure, Offender
from lockgate.data.frames import collect, is_csv
from lockgate.data.profile import type_family
from lockgate.errors import InvalidInput

_EXAMPLES = 5


class Checked(NamedTuple):
    """What a pass over the table found."""

    rows: int
    expectations: int
    failures: tuple[Failure, ...]


class _Expectation(NamedTuple):
    """`broken` is a scalar over the whole column that is true where some row is `offending`."""

    name: str
    columns: tuple[str, ...]  # more than one where a combination must be unique
    broken: pl.Expr
    offending: pl.Expr
    says: str  # completes "column 'x' ... in N rows"

    @property
    def column(self) -> str:
        return " + ".join(self.columns)


def check_table(path: Path, contract: Contract) -> Checked:
    """Every expectation but drift. Raises NotFound, or InvalidInput for a file that is no readable table."""
    seen: list[pl.Schema] = []

    def measured(lazy: pl.LazyFrame) -> pl.LazyFrame:
        # asked again with other types where a row far down a CSV file does not fit what its first rows suggest
        seen.append(lazy.collect_schema())
        asked = _expectations(contract, seen[-1], from_text=is_csv(path))
        probes = [item.broken.fill_null(value=False).alias(f"{i}") for i, item in enumerate(asked)]
        return lazy.select(pl.len().alias("rows"), *probes)

    try:
        measures = collect(path, measured).row(0, named=True)
    except InvalidInput as error:
        raise _pattern_error(contract) or error from error
    schema, rows = seen[-1], measures["rows"]
    asked = _expectations(contract, schema, from_text=is_csv(path))
    broken = [i for i in range(len(asked)) if measures[f"{i}"]]
    failures = [*_schema_failures(contract, schema), *_row_count_failures(contract, rows)]
    if broken:
        failures += _explained(path, [asked[i] for i in broken], rows=rows, schema=schema)
    count = len(asked) + len(contract.columns) + 2  # that each column is there, that no other is, how many rows
    return Checked(rows, count, tuple(failures))


def _schema_failures(contract: Contract, schema: pl.Schema) -> Iterator[Failure]:
    known = set(contract.columns)
    extra = [name for name in schema if name not in known]
    missing = [name for name, column in contract.columns.items() if column.required and name not in schema]
    if missing and len(missing) == len([column for column in contract.columns.values() if column.required]):
        yield Failure(
            expectation="required",
            message=f"none of the contract's columns is there: this is a contract for another schema; "
            f"the file has {_listed(schema.names())}, the contract {_listed(list(contract.columns))}",
        )
        return
    for name in missing:
        nearest = get_close_matches(name, extra, n=1)
        hint = f"; did {nearest[0]!r} take its place?" if nearest else ""
        yield Failure(expectation="required", column=name, message=f"column {name!r} is missing{hint}")
    if contract.extra_columns == "refuse":
        for name in extra:
            nearest = get_close_matches(name, missing, n=1)
            hint = f"; the contract has {nearest[0]!r}" if nearest else ""
            yield Failure(
                expectation="extra_columns", column=name, message=f"column {name!r} is not in the contract{hint}"
            )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _row_count_failures(contract: Contract, rows: int) -> Iterator[Failure]:
    if rows < contract.rows.min:
        yield Failure(expectation="rows", message=f"{rows} rows, at least {contract.rows.min} are expected")
    if contract.rows.max is not None and rows > contract.rows.max:
        yield Failure(expectation="rows", message=f"{rows} rows, at most {contract.rows.max} are expected")


def _expectations(contract: Contract, schema: pl.Schema, *, from_text: bool) -> list[_Expectation]:
    """What can be asked of these columns. In a file of text (CSV) every column is a good column of strings."""
    found: list[_Expectation] = []
    for name, column in contract.columns.items():
        if name in schema:
            found += _column_expectations(name, column, schema[name], from_text=from_text)
    return found + [_unique_together(names) for names in contract.unique if all(name in schema for name in names)]


def _column_expectations(name: str, column: Column, dtype: pl.DataType, *, from_text: bool) -> Iterator[_Expectation]:
    col = pl.col(name)
    missing = col.is_null() | col.is_nan() if dtype.is_float() else col.is_null()
    missing_count = col.null_count() + col.is_nan().sum() if dtype.is_float() else col.null_count()
    if not column.nullable:
        yield _Expectation("nullable", (name,), missing_count > 0, missing, "is missing")
    if column.max_missing is not None:
        too_many = missing_count > column.max_missing * pl.len()
        says = f"is missing (allowed: {_percent(column.max_missing)})"
        yield _Expectation("max_missing", (name,), too_many, missing, says)
    wrong, values = (None, col) if from_text and column.type == "string" else _typed(col, column.type, dtype)
    if wrong is not None:
        yield _Expectation("type", (name,), wrong.any(), wrong, f"is no {column.type}")
    numeric = column.type in ("integer", "number") or dtype.is_numeric()
    if numeric and column.min is not None:
        says = f"is below {_number(column.min)}"
        yield _Expectation("min", (name,), values.min() < column.min, values < column.min, says)
    if numeric and column.max is not None:
        says = f"is above {_number(column.max)}"
        yield _Expectation("max", (name,), values.max() > column.max, values > column.max, says)
    if column.categories is not None:
        foreign = _foreign(col, column.categories, dtype)
        says = f"is none of {_listed([str(category) for category in column.categories])}"
        # few values occur: looking each up once is half the work of looking every row up
        broken = _foreign(col.unique(), column.categories, dtype).any()
        yield _Expectation("categories", (name,), broken, foreign, says)
    if column.pattern is not None and dtype in (pl.String, pl.Categorical, pl.Enum):
        unlike = ~col.cast(pl.String).str.contains(column.pattern)
        yield _Expectation("pattern", (name,), unlike.any(), unlike, f"does not match {column.pattern!r}")
    if column.unique:
        yield _unique(name)


def _typed(col: pl.Expr, type_: str, dtype: pl.DataType) -> tuple[pl.Expr | None, pl.Expr]:
    """Which rows are not of the contract's type (None: none can be), and the values as that type."""
    family = type_family(dtype)
    if type_ in ("any", family) or (type_ == "number" and family == "integer") or dtype == pl.Null:
        return None, col
    if type_ == "integer" and family == "number":
        # an integer column with missing values often arrives as floating point
        return col != col.floor(), col
    if family == "string" and type_ != "string":
        parsed = _parsed(col.cast(pl.String).str.strip_chars(), type_)
        return parsed.is_null() & col.is_not_null(), parsed
    if type_ == "boolean" and family in ("integer", "number"):
        return ~col.is_in([0, 1]), col
    return col.is_not_null(), col.cast(pl.Float64, strict=False) if type_ in ("integer", "number") else col


def _parsed(text: pl.Expr, type_: str) -> pl.Expr:
    if type_ == "integer":
        return text.cast(pl.Int64, strict=False)
    if type_ == "number":
        return text.cast(pl.Float64, strict=False).fill_nan(None)
    if type_ == "boolean":
        return text.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        )
    # ISO 8601, the date alone or with a time
    return pl.coalesce(
        text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")),
        text.str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False),
        text.str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit="us", strict=False)
        .dt.replace_time_zone(None),
    )  # fmt: skip


def _foreign(col: pl.Expr, categories: list[bool | int | float | str], dtype: pl.DataType) -> pl.Expr:
    if dtype.is_numeric() and not all(isinstance(category, str) for category in categories):
        allowed = [float(category) for category in categories if not isinstance(category, str)]
        return ~col.cast(pl.Float64).is_in(allowed)
    if dtype == pl.Boolean:
        return ~col.is_in([category for category in categories if isinstance(category, bool)])
    names = [str(category) for category in categories]
    return ~col.cast(pl.String).is_in(names)


def _unique(name: str) -> _Expectation:
    col = pl.col(name)
    repeated = col.is_duplicated() & col.is_not_null()
    broken = col.drop_nulls().n_unique() < col.count()
    return _Expectation("unique", (name,), broken, repeated, "occurs more than once")


def _unique_together(names: tuple[str, ...]) -> _Expectation:
    together = pl.struct(names)
    repeated = together.is_duplicated()
    return _Expectation("unique", names, together.n_unique() < pl.len(), repeated, "occurs more than once")


def _explained(path: Path, broken: list[_Expectation], *, rows: int, schema: pl.Schema) -> list[Failure]:
    """How many rows broke each of these expectations, and the first of them."""
    row = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    selected = []
    for i, item in enumerate(broken):
        offending = item.offending.fill_null(value=False)
        selected += [
            offending.sum().alias(f"{i}n"),
            row.filter(offending).head(_EXAMPLES).implode().alias(f"{i}row"),
            _shown(item.columns, schema).filter(offending).head(_EXAMPLES).implode().alias(f"{i}value"),
        ]
    found = collect(path, lambda lazy: lazy.select(selected), schema=schema).row(0, named=True)
    failures = []
    for i, item in enumerate(broken):
        count = found[f"{i}n"]
        share = count / rows
        examples = zip(found[f"{i}row"], found[f"{i}value"], strict=True)
        failures.append(
            Failure(
                expectation=item.name,
                column=item.column,
                message=f"column {item.column!r} {item.says} in {count} of {rows} rows ({_percent(share)})",
                rows=count,
                share=share,
                examples=tuple(Offender(row=row, value=value) for row, value in examples),
            )
        )
    return failures


def _shown(columns: tuple[str, ...], schema: pl.Schema) -> pl.Expr:
    """A value as a report can hold it."""
    if len(columns) > 1:
        return pl.concat_str([pl.col(name).cast(pl.String) for name in columns], separator=" + ")
    col, dtype = pl.col(columns[0]), schema[columns[0]]
    if dtype.is_integer() or dtype in (pl.Float32, pl.Float64, pl.Boolean, pl.String):
        return col
    return col.is_not_null() if dtype.is_nested() else col.cast(pl.String, strict=False)


def _number(value: float) -> str:
    return f"{value:.10g}"


def _percent(share: float) -> str:
    return "under 0.01 %" if 0 < share < 0.0001 else f"{share * 100:.4g} %"


def _pattern_error(contract: Contract) -> InvalidInput | None:
    """Polars' regular expressions know no look-around and no back-references: name the pattern that asks for them."""
    for name, column in contract.columns.items():
        if column.pattern is None:
            continue
        try:
            pl.Series(["x"]).str.contains(column.pattern)
        except pl.exceptions.PolarsError:
            return InvalidInput(
                f"the pattern of column {name!r} cannot be used: {column.pattern!r}.",
                hint="look-around and back-references are not supported",
            )
    return None
