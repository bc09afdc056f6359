"""Example rows in whatever form a training script has them -> columns, and rows as JSON writes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lockgate.entities import Scalar
from lockgate.errors import LockgateError
from lockgate.models.mlmodel import read_mlmodel
from lockgate.models.signature import (
    NUMPY_TYPES,
    Array,
    ColumnSpec,
    Signature,
    columns_from_frame,
    columns_from_rows,
)


def is_pandas(example: Any) -> bool:
    return type(example).__module__.split(".")[0] == "pandas"


def example_columns(example: Any, signature: Signature) -> dict[str, Array]:
    """The signature's columns of a Polars or pandas frame or of an array."""
    if isinstance(example, np.ndarray):
        return {spec.name: example[:, i].astype(NUMPY_TYPES[spec.type]) for i, spec in enumerate(signature.columns)}
    if is_pandas(example):
        if signature.is_positional:
            example = example.set_axis(list(signature.names), axis=1)
        named = example.set_axis([str(name) for name in example.columns], axis=1)
        return {spec.name: _from_pandas(named[spec.name], spec) for spec in signature.columns}
    return columns_from_frame(example, signature)


def _from_pandas(series: Any, spec: ColumnSpec) -> Array:
    if spec.type == "string":
        gaps = series.isna()
        return np.array([None if gap else value for value, gap in zip(series, gaps, strict=True)], dtype=object)
    has_gaps = bool(series.isna().any())
    if has_gaps and spec.type in ("integer", "long"):
        return np.asarray(series.to_numpy(dtype="float64", na_value=np.nan))
    if has_gaps and spec.type == "boolean":
        return np.array([None if value is None or value != value else bool(value) for value in series], dtype=object)
    return np.asarray(series.to_numpy()).astype(NUMPY_TYPES[spec.type])


def example_rows(columns: Mapping[str, Array], signature: Signature) -> list[list[Scalar]]:
    """One list a row, as JSON can write it: a missing value is null, a time an ISO 8601 text."""
    lists = [_scalars(columns[name]) for name in signature.names]
    return [list(row) for row in zip(*lists, strict=True)]


def _scalars(array: Array) -> list[Scalar]:
    if array.dtype.kind == "M":
        return [None if text == "NaT" else text for text in np.datetime_as_string(array).tolist()]
    values = [float(str(value)) for value in array] if array.dtype == np.float32 else array.tolist()
    return [None if value is None or value != value else value for value in values]


def saved_example(folder: Path, signature: Signature) -> dict[str, Array]:
    """Rows that the model takes: those that were saved with it, or one made-up row where there are none."""
    info = read_mlmodel(folder).saved_input_example_info or {}
    try:
        content = msgspec.json.decode((folder / str(info.get("artifact_path"))).read_bytes())
        rows, names = content, signature.names
        if isinstance(content, dict):
            rows, names = content["data"], content.get("columns", names)
        named = [dict(zip(map(str, names), row, strict=True)) for row in rows]
        known = [{name: row.get(name) for name in signature.names} for row in named]
        return columns_from_rows(known, signature)
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError, LockgateError):
        # An example of another form (mlflow knows many) is as good as none.
        return {spec.name: made_up_column(spec) for spec in signature.columns}


def made_up_column(spec: ColumnSpec) -> Array:
    """One value of the column's type."""
    if spec.type == "string":
        return np.array([""], dtype=object)
    if spec.type == "datetime":
        return np.array(["1970-01-01"], dtype="datetime64[us]")
    return np.zeros(1, dtype="bool" if spec.type == "boolean" else "float64")
