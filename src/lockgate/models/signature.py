"""What a model takes and gives: MLflow's signature, and tables checked against it.

MLflow knows two forms. Columns: `[{"name": "age", "type": "long", "required": true}, ...]`. Tensors:
`[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 30]}}]`. Everything behind the edges works with
columns, so a tensor of k columns is seen as columns "0" ... "k-1", as pandas names them.

A table is a mapping from column name to a numpy array with one entry a row: `float64` for a `double`, `datetime64[us]`
for a `datetime`, objects for a `string`. A missing value of an optional column is NaN, NaT or, for a string, None.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lockgate.entities import Record
from lockgate.errors import InvalidInput

if TYPE_CHECKING:
    import polars as pl

ColumnType = Literal["boolean", "integer", "long", "float", "double", "string", "datetime"]
Array = NDArray[Any]
Columns = Mapping[str, Array]

NUMPY_TYPES: Mapping[str, str] = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "object",
    "datetime": "datetime64[us]",
}
_NUMBERS = ("integer", "long", "float", "double")


class ColumnSpec(Record, frozen=True, kw_only=True):
    """One named column. `required` forbids missing values."""

    name: str
    type: ColumnType
    required: bool = True


class TensorSpec(Record, frozen=True, kw_only=True):
    """One array; -1 stands for any length. `name` is None for the only input of a model."""

    dtype: str
    shape: tuple[int, ...]
    name: str | None = None


Spec = ColumnSpec | TensorSpec


class Signature(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Inputs and outputs, each either all columns or all tensors."""

    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...] = ()

    @cached_property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The inputs as columns. Raises InvalidInput for tensors that are no table."""
        return tuple(column for spec in self.inputs for column in _as_columns(spec))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def is_positional(self) -> bool:
        """True for one tensor without names: its columns are known by their place."""
        return len(self.inputs) == 1 and isinstance(self.inputs[0], TensorSpec) and self.inputs[0].name is None

    @cached_property
    def matrix_dtype(self) -> np.dtype[Any] | None:
        """The dtype of one matrix that holds all inputs; None where one of them is no number."""
        if all(column.type == "float" for column in self.columns):
            return np.dtype("float32")
        return np.dtype("float64") if all(column.type in _NUMBERS for column in self.columns) else None


# -- from examples ----------------------------------------------------------------------------------------------------


def infer_signature(example: Any, output: Any = None) -> Signature:
    """The signature of a model from rows it takes (Polars or pandas frame, or a 2-d array) and what it answers.

    A column with a missing value in the example is optional, every other one is required. Raises InvalidInput for
    columns of a type that no MLflow signature has.
    """
    if isinstance(example, np.ndarray):
        if example.ndim != 2:
            raise InvalidInput(f"an example is a table: an array of 2 dimensions, not {example.ndim}.")
        inputs: tuple[Spec, ...] = (_tensor(example),)
    else:
        inputs = tuple(_column(name, series) for name, series in _series(example))
    return Signature(inputs=inputs, outputs=() if output is None else (_tensor(np.asarray(output)),))


def _series(frame: Any) -> list[tuple[str, Any]]:  # Polars or pandas, whose series have the few members we use
    try:
        return [(str(name), frame[name]) for name in frame.columns]
    except (AttributeError, TypeError, KeyError):
        raise InvalidInput(
            f"an example is a Polars or pandas frame or a numpy array, not {type(frame).__name__}."
        ) from None


def _column(name: str, series: Any) -> ColumnSpec:
    is_polars = type(series).__module__.startswith("polars")
    missing = series.is_null() | series.is_nan() if is_polars and series.dtype.is_float() else None
    if missing is None:
        missing = series.is_null() if is_polars else series.isna()
    type_ = _polars_type(series.dtype) if is_polars else _pandas_type(series)
    if type_ is None:
        raise InvalidInput(
            f"column {name!r} has the type {series.dtype}, which no signature can say; "
            "use booleans, integers, floats, strings or datetimes."
        )
    return ColumnSpec(name=name, type=type_, required=not bool(missing.any()))


def _polars_type(dtype: Any) -> ColumnType | None:
    import polars as pl

    if dtype.is_integer():
        return "integer" if dtype in (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16) else "long"
    if dtype.is_numeric():
        return "float" if dtype == pl.Float32 else "double"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "string"
    return "datetime" if dtype in (pl.Date, pl.Datetime) else None


def _pandas_type(series: Any) -> ColumnType | None:
    dtype = series.dtype
    if str(dtype) == "category":
        dtype = dtype.categories.dtype
    kind = getattr(dtype, "kind", "O")
    if kind == "O":
        values = [value for value in series if value is not None and value == value]
        return "string" if all(isinstance(value, str) for value in values) else None
    if kind in "iu":
        return "integer" if dtype.itemsize < 4 or str(dtype).lower() == "int32" else "long"
    if kind == "f":
        return "float" if dtype.itemsize <= 4 else "double"
    kinds: Mapping[str, ColumnType] = {"b": "boolean", "M": "datetime", "U": "string"}
    return kinds.get(kind)


def _tensor(array: Array) -> TensorSpec:
    dtype = "str" if array.dtype.kind == "U" else array.dtype.name
    if array.dtype.kind == "O" and array.size and all(isinstance(value, str) for value in array.flat):
        dtype = "object"
    return TensorSpec(dtype=dtype, shape=(-1, *array.shape[1:]))


def _as_columns(spec: Spec) -> tuple[ColumnSpec, ...]:
    if isinstance(spec, ColumnSpec):
        return (spec,)
    kind = np.dtype(spec.dtype).kind if spec.dtype != "str" else "U"
    types: Mapping[str, ColumnType] = {"b": "boolean", "i": "long", "u": "long", "f": "double", "U": "string"}
    type_ = "float" if spec.dtype in ("float32", "float16") else types.get(kind, "string")
    width = 1 if len(spec.shape) == 1 else spec.shape[-1]
    if len(spec.shape) > 2 or width < 1 or (spec.name is not None and width != 1):
        raise InvalidInput(
            f"the signature's input {spec.name or ''}{list(spec.shape)} is no table; a model here takes named columns "
            "or one tensor of shape [-1, k]."
        )
    if spec.name is not None:
        return (ColumnSpec(name=spec.name, type=type_),)
    # NaN is how a tensor says "missing", and MLflow lets it pass.
    optional = type_ in ("float", "double")
    return tuple(ColumnSpec(name=str(i), type=type_, required=not optional) for i in range(width))


# -- tables checked against a signature -------------------------------------------------------------------------------


def columns_from_frame(frame: "pl.DataFrame", signature: Signature) -> dict[str, Array]:
    """The signature's columns of a Polars frame; further columns are left out.

    Raises InvalidInput naming the first column that is missing, of another type, or has missing values it must not.
    """
    if signature.is_positional and not set(signature.names) <= set(frame.columns):
        if frame.width != len(signature.names):
            raise InvalidInput(f"the model takes {len(signature.names)} columns, the table has {frame.width}.")
        frame = frame.rename(dict(zip(frame.columns, signature.names, strict=True)))
    absent = [name for name in signature.names if name not in frame.columns]
    if absent:
        raise InvalidInput(f"the table lacks the column {absent[0]!r}.{_nearest(absent[0], frame.columns)}")
    return {spec.name: _from_series(frame[spec.name], spec) for spec in signature.columns}


def matrix_from_frame(frame: "pl.DataFrame", signature: Signature, dtype: np.dtype[Any]) -> Array:
    """All columns of a Polars frame as one matrix of `dtype` in signature order, checked like `columns_from_frame`.

    Several times as fast for many rows, where every column is a number.
    """
    import polars as pl

    names = signature.names
    if set(names) <= set(frame.columns) and signature.matrix_dtype is not None:
        chosen = frame.select(names)
        # Only what is plain: the careful way below says what is wrong with the rest.
        if all(_polars_type(kind) in ("float", "double") for kind in chosen.dtypes) and all(
            spec.type in ("float", "double") for spec in signature.columns
        ):
            target = pl.Float32 if dtype == np.float32 else pl.Float64
            matrix = chosen.cast(target).to_numpy(order="c")  # a null is NaN here
            required = [i for i, spec in enumerate(signature.columns) if spec.required]
            if len(required) == len(names) and not np.isnan(matrix.sum()):
                return matrix
            if not required or not np.isnan(matrix[:, required]).any():
                return matrix
    columns = columns_from_frame(frame, signature)
    return np.column_stack([columns[name] for name in names]).astype(dtype, copy=False)


def _from_series(series: "pl.Series", spec: ColumnSpec) -> Array:
    dtype = series.dtype
    actual = _polars_type(dtype)
    fits = actual == spec.type or (actual in _NUMBERS and spec.type in _NUMBERS) or dtype.to_python() is type(None)
    if not fits:
        raise InvalidInput(f"column {spec.name!r} has the type {dtype}; the model takes {spec.type}.")
    nulls = series.null_count()
    if spec.required and (nulls or (actual in ("float", "double") and series.is_nan().any())):
        at = (series.is_null() | (series.is_nan() if dtype.is_float() else False)).arg_true()[0]
        raise InvalidInput(f"column {spec.name!r} has no value in row {at}, and the model requires one.")
    if spec.type == "string":
        return series.cast(_string_type()).to_numpy().astype(object) if nulls < len(series) else _nothing(len(series))
    if spec.type == "datetime":
        return series.to_numpy().astype("datetime64[us]")
    if nulls and spec.type in ("integer", "long"):
        return series.to_numpy().astype("float64")
    if nulls and spec.type == "boolean":
        return np.array(series.to_list(), dtype=object)
    values = series.to_numpy()
    target = np.dtype(NUMPY_TYPES[spec.type])
    if target.kind == "i" and values.dtype.kind == "f" and not np.array_equal(values, np.trunc(values)):
        raise InvalidInput(f"column {spec.name!r} has fractions; the model takes {spec.type}.")
    return values.astype(target, copy=False)


def _string_type() -> Any:
    import polars as pl

    return pl.String


def _nothing(rows: int) -> Array:
    return np.full(rows, None, dtype=object)


def columns_from_rows(rows: Sequence[Mapping[str, Any]], signature: Signature) -> dict[str, Array]:
    """The same from JSON-like rows, where a column that the model does not know is an error too."""
    names = signature.names
    known = set(names)
    for i, row in enumerate(rows):
        if row.keys() != known:
            require_known(row, names)
            for spec in signature.columns:
                if spec.required and spec.name not in row:
                    raise InvalidInput(f"row {i} lacks the column {spec.name!r}.")
    return {spec.name: column_from_values([row.get(spec.name) for row in rows], spec) for spec in signature.columns}


def require_known(given: Sequence[str] | Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise InvalidInput for the first of `given` that is no column of the model."""
    for name in given:
        if name not in names:
            raise InvalidInput(f"the model has no column {name!r}.{_nearest(str(name), names)}")


def column_from_values(values: Sequence[Any], spec: ColumnSpec) -> Array:
    """One column from plain values. Raises InvalidInput naming the column and the first row that does not fit."""
    missing = [i for i, value in enumerate(values) if value is None or value != value]
    if missing and spec.required:
        raise InvalidInput(f"column {spec.name!r} has no value in row {missing[0]}, and the model requires one.")
    allowed = _ALLOWED[spec.type]
    gaps = set(missing)
    for i, value in enumerate(values):
        if i not in gaps and (not isinstance(value, allowed) or (isinstance(value, bool) and spec.type != "boolean")):
            raise _unfit(spec, i, value)
    if spec.type == "string":
        return np.array([None if i in gaps else value for i, value in enumerate(values)], dtype=object)
    if spec.type == "datetime":
        return _datetimes(values, gaps, spec)
    if spec.type == "boolean" and gaps:
        return np.array(values, dtype=object)
    if spec.type in ("integer", "long"):
        return _integers(values, gaps, spec)
    filled: Sequence[Any] = [np.nan if i in gaps else value for i, value in enumerate(values)] if gaps else values
    try:
        return np.array(filled, dtype=NUMPY_TYPES[spec.type])
    except OverflowError:
        raise InvalidInput(f"column {spec.name!r} has a number that is too large for {spec.type}.") from None


_ALLOWED: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool, np.bool_),
    "integer": (int, float, np.integer, np.floating),
    "long": (int, float, np.integer, np.floating),
    "float": (int, float, np.integer, np.floating),
    "double": (int, float, np.integer, np.floating),
    "string": (str,),
    "datetime": (str, int, np.datetime64),
}


def _unfit(spec: ColumnSpec, row: int, value: Any) -> InvalidInput:
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    return InvalidInput(f"column {spec.name!r} takes {spec.type}, but row {row} has {shown}.")


def _integers(values: Sequence[Any], gaps: set[int], spec: ColumnSpec) -> Array:
    """JavaScript has one kind of number, so 3.0 is an integer here and 3.5 is not."""
    limits = np.iinfo(NUMPY_TYPES[spec.type])
    for i, value in enumerate(values):
        if i not in gaps and (value != value // 1 or not limits.min <= value <= limits.max):
            raise _unfit(spec, i, value)
    if gaps:
        return np.array([np.nan if i in gaps else value for i, value in enumerate(values)], dtype="float64")
    return np.array(values, dtype=NUMPY_TYPES[spec.type])


def _datetimes(values: Sequence[Any], gaps: set[int], spec: ColumnSpec) -> Array:
    """ISO 8601 texts, with any offset turned to UTC; numbers are milliseconds since the epoch."""
    from datetime import UTC, datetime

    found: list[Any] = []  # numpy's stubs make every unit of time a type of its own
    for i, value in enumerate(values):
        try:
            if i in gaps:
                found.append(np.datetime64("NaT", "us"))
            elif isinstance(value, str):
                at = datetime.fromisoformat(value)
                found.append(np.datetime64(at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at, "us"))
            else:
                found.append(np.datetime64(value, "ms").astype("datetime64[us]"))
        except (ValueError, OverflowError):
            raise _unfit(spec, i, value) from None
    return np.array(found, dtype="datetime64[us]")


def _nearest(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else f" It has: {', '.join(list(names)[:20])}."
