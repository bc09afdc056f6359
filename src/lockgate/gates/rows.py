"""The rows that a candidate and the champion are compared on: features and truth, without rows that have no truth."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lockgate.data.frames import read_frame
from lockgate.errors import InvalidInput
from lockgate.project import Evaluate, Task
from lockgate.stats.metrics import BINARY, REGRESSION, Array

if TYPE_CHECKING:
    import polars as pl

ReadFrame = Callable[[Path], "pl.DataFrame"]


@dataclass(frozen=True, slots=True)
class EvaluationRows:
    """`frame` has all columns of the file, `truth` the label of the same rows."""

    frame: "pl.DataFrame"
    label: str
    truth: Array
    without_label: int  # rows that were left out because their label is missing


def read_rows(root: Path, evaluate: Evaluate, task: Task, *, read: ReadFrame = read_frame) -> EvaluationRows:
    """Raises NotFound or InvalidInput: no such file, no label column, labels that do not fit the task."""
    frame = read(root / evaluate.data)
    if evaluate.label not in frame.columns:
        raise InvalidInput(
            f"{evaluate.data} has no label column {evaluate.label!r}; it has: {', '.join(frame.columns[:20])}.",
            hint="set evaluate.label in lockgate.yaml",
        )
    known = frame[evaluate.label].is_not_null()
    if frame[evaluate.label].dtype.is_float():
        known = known & frame[evaluate.label].is_not_nan().fill_null(False)
    kept = frame.filter(known)
    truth = _numbers(kept[evaluate.label]) if task == REGRESSION else _labels(kept[evaluate.label])
    if task == BINARY and len(np.unique(truth)) > 2:
        raise InvalidInput(
            f"the task is {task}, but {evaluate.label!r} has {len(np.unique(truth))} values in {evaluate.data}.",
            hint="set task: multiclass_classification or regression in lockgate.yaml",
        )
    return EvaluationRows(kept, evaluate.label, truth, frame.height - kept.height)


def _numbers(series: "pl.Series") -> Array:
    if not (series.dtype.is_numeric() or series.len() == 0):
        raise InvalidInput(f"the label {series.name!r} of a regression must be a number, not {series.dtype}.")
    return series.to_numpy().astype(np.float64)


def _labels(series: "pl.Series") -> Array:
    """Booleans, integers or text as they are; whole floats (a column that once had gaps) as integers."""
    import polars as pl

    if series.dtype.is_float():
        values = series.to_numpy()
        return values.astype(np.int64) if np.array_equal(values, np.floor(values)) else values
    if series.dtype.is_integer() or series.dtype == pl.Boolean:
        return series.to_numpy()
    return np.array(series.cast(pl.String).to_list(), dtype=np.str_)
