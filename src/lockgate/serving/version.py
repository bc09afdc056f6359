"""One loaded version as the replica sees it: the model, what it takes, and what is counted."""

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from lockgate.entities import TrafficShare
from lockgate.models.example import example_rows, saved_example
from lockgate.models.load import LoadedModel
from lockgate.models.predictor import Answer
from lockgate.models.signature import Array
from lockgate.serving.counters import BatchCounters, Counters

# One call may be interrupted for long on a busy machine: what is beyond this counts only when the next is slow again.
_GRACE_S = 0.030


class Inputs(msgspec.Struct, gc=False):
    """Rows of one request that passed the signature: as lists in signature order where the model takes a matrix, as
    columns otherwise."""

    height: int
    rows: list[list[Any]] | None = None  # numbers, NaN where an optional one is missing
    columns: dict[str, Array] | None = None


class Cost:
    """What a call of the model takes, learnt from the calls: so much by itself, and so much a row."""

    __slots__ = ("_call_s", "_row_s")

    def __init__(self) -> None:
        self._call_s: float | None = None
        self._row_s = 0.0

    def estimate_s(self, rows: int) -> float:
        return (self._call_s or 0.0) + self._row_s * rows

    def learn(self, rows: int, took_s: float) -> None:
        if self._call_s is None:
            self._call_s = took_s
            return
        took_s = min(took_s, 2 * self.estimate_s(rows) + _GRACE_S)
        # A call of few rows tells the price of a call, one of many rows that of a row.
        if rows < 8:
            self._call_s += 0.2 * (took_s - self._call_s)
        else:
            self._row_s += 0.2 * (max(took_s - self._call_s, 0.0) / rows - self._row_s)


class Totals:
    """What was counted for one version since this replica started; outlives the model in memory."""

    __slots__ = ("batches", "environment", "model_name", "named", "routed", "version")

    def __init__(self, version: int, *, model_name: str, environment: str) -> None:
        self.version = version
        self.model_name = model_name
        self.environment = environment
        self.routed = Counters()  # of requests that the traffic split sent here: what a canary is judged on
        self.named = Counters()  # of requests that asked for this version
        self.batches = BatchCounters()


class ServedVersion:
    """A version in memory. `is_fast_numeric` says that rows of JSON numbers need no check but their length."""

    def __init__(self, share: TrafficShare, model: LoadedModel, totals: Totals) -> None:
        self.version = share.version
        self.digest = share.digest
        self.model = model
        self.model_name = totals.model_name
        self.environment = totals.environment
        self.names = model.signature.names
        self.specs = model.signature.columns
        self.routed, self.named, self.batches = totals.routed, totals.named, totals.batches
        self.is_fast_numeric = model.takes_matrix and all(spec.type in ("float", "double") for spec in self.specs)
        self.header = str(share.version)
        name = msgspec.json.encode(totals.model_name).decode()
        self.oip_head = f'{{"model_name":{name},"model_version":"{share.version}","id":'
        self.cost = Cost()
        self.is_busy = False  # a batch runs in a thread
        self._pack = struct.Struct(f"{len(self.names)}d").pack
        self._record = _record_type(self.names)

    def inputs_of(self, columns: dict[str, Array]) -> Inputs:
        """Checked columns in the form that batches are made of."""
        height = len(columns[self.names[0]])
        if not self.model.takes_matrix:
            return Inputs(height, columns=columns)
        return Inputs(height, rows=np.column_stack([columns[name] for name in self.names]).tolist())

    def answer(self, batch: list[Inputs]) -> Answer:
        """One call of the model for all of `batch`."""
        if self.model.takes_matrix:
            # Packing row by row is four times as fast as numpy's own way through nested lists.
            packed = b"".join([self._pack(*row) for inputs in batch for row in inputs.rows or ()])
            matrix = np.frombuffer(packed).reshape(-1, len(self.names))
            answer = self.model.answer_matrix(matrix.astype(self.model.matrix_dtype, copy=False))
        else:
            parts = [inputs.columns or {} for inputs in batch]
            together = len(parts) > 1
            columns = {n: np.concatenate([part[n] for part in parts]) if together else parts[0][n] for n in self.names}
            answer = self.model.answer(columns)
        expected = sum(inputs.height for inputs in batch)
        if len(answer.predictions) != expected:
            raise ValueError(f"the model answered {len(answer.predictions)} rows for {expected}")
        return answer

    def logged(self, inputs: Inputs) -> list[msgspec.Struct]:
        """The rows as the prediction log keeps them: records with a field a column."""
        rows: Sequence[Sequence[Any]] | None = inputs.rows
        if rows is None:
            rows = example_rows(inputs.columns or {}, self.model.signature)
        record = self._record
        return [record(*row) for row in rows]

    def warm_up(self) -> None:
        """Answer the saved example, so that the first request pays for no lazy set-up and the price of a call is known.

        Without one, a made-up row, which a model may refuse (a category it never saw): no failure of loading.
        """
        example = saved_example(self.model.path, self.model.signature)
        row = self.inputs_of({name: array[:1] for name, array in example.items()})
        for rows in (1, 1, 1, 32, 32):
            started = time.perf_counter()
            self.answer([row] * rows)
            self.cost.learn(rows, time.perf_counter() - started)


def _record_type(names: Sequence[str]) -> Callable[..., msgspec.Struct]:
    """A struct with a field a column: made and encoded several times as fast as a dict of the same."""
    fields = [f"column_{i}" for i in range(len(names))]
    return msgspec.defstruct("Logged", fields, rename=dict(zip(fields, names, strict=True)), gc=False)
