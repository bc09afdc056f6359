"""One loaded version as the replica sees it: the model, what it takes, and what is counted."""

from typing import Any, NamedTuple

import msgspec
import numpy as np

from lockgate.entities import Scalar, TrafficShare
from lockgate.models.example import example_rows
from lockgate.models.load import LoadedModel
from lockgate.models.predictor import Answer
from lockgate.models.signature import Array, ColumnSpec
from lockgate.serving.counters import Counters

_MISSING_DATE = "1970-01-01"


class Inputs(NamedTuple):
    """Rows of one request that passed the signature: as lists in signature order where the model takes a matrix, as
    columns otherwise."""

    count: int
    rows: list[list[Any]] | None = None  # numbers, NaN where an optional one is missing
    columns: dict[str, Array] | None = None


class ServedVersion:
    """A version in memory. `is_fast_numeric` says that rows of JSON numbers need no check but their length."""

    def __init__(self, share: TrafficShare, model: LoadedModel, *, model_name: str, environment: str) -> None:
        self.version = share.version
        self.digest = share.digest
        self.model = model
        self.model_name = model_name
        self.environment = environment
        self.names = model.signature.names
        self.specs = model.signature.columns
        self.counters = Counters()  # of every request
        self.routed = Counters()  # of those that the traffic split sent here: what a canary is judged on
        self.is_fast_numeric = model.takes_matrix and all(
            spec.type in ("float", "double") and spec.required for spec in self.specs
        )
        self.is_positional_numeric = model.takes_matrix and model.signature.is_positional
        self.header = str(share.version)
        name = msgspec.json.encode(model_name).decode()
        self.oip_head = f'{{"model_name":{name},"model_version":"{share.version}","id":'
        self.seconds_a_row = 0.0  # of the slowest recent batch
        self.is_busy = False  # a batch runs in a thread

    def inputs_of(self, columns: dict[str, Array]) -> Inputs:
        """Checked columns in the form that batches are made of."""
        count = len(columns[self.names[0]])
        if not self.model.takes_matrix:
            return Inputs(count, columns=columns)
        return Inputs(count, rows=np.column_stack([columns[name] for name in self.names]).tolist())

    def answer(self, batch: list[Inputs]) -> Answer:
        """One call of the model for all of `batch`."""
        if self.model.takes_matrix:
            rows = [row for inputs in batch for row in inputs.rows or ()]
            answer = self.model.answer_matrix(np.array(rows, dtype=self.model.signature.matrix_dtype))
        else:
            parts = [inputs.columns or {} for inputs in batch]
            together = len(parts) > 1
            columns = {n: np.concatenate([part[n] for part in parts]) if together else parts[0][n] for n in self.names}
            answer = self.model.answer(columns)
        expected = sum(inputs.count for inputs in batch)
        if len(answer.predictions) != expected:
            raise ValueError(f"the model answered {len(answer.predictions)} rows for {expected}")
        return answer

    def logged(self, inputs: Inputs) -> list[dict[str, Scalar]]:
        """The rows as the prediction log keeps them."""
        rows = inputs.rows
        if rows is None:
            rows = example_rows(inputs.columns or {}, self.model.signature)
        return [dict(zip(self.names, row, strict=True)) for row in rows]

    def warm_up(self) -> None:
        """Answer one made-up row, so that the first request pays for no lazy set-up.

        A model may refuse it (a category it never saw): that is no failure of loading.
        """
        columns = {spec.name: _made_up(spec) for spec in self.specs}
        self.answer([self.inputs_of(columns)])


def _made_up(spec: ColumnSpec) -> Array:
    if spec.type == "string":
        return np.array([""], dtype=object)
    if spec.type == "datetime":
        return np.array([_MISSING_DATE], dtype="datetime64[us]")
    return np.zeros(1, dtype="bool" if spec.type == "boolean" else "float64")
