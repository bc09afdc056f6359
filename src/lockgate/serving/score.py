"""A file of rows -> a file of rows with their predictions, in bounded memory.

Polars reads a piece, the model answers it, Polars writes it, all three at the same time for different pieces. The
result appears under its name when it is whole.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lockgate.data.frames import file_suffix, iter_frames, scan_frame
from lockgate.errors import InvalidInput, LockgateError
from lockgate.models.example import saved_example
from lockgate.models.load import LoadedModel
from lockgate.models.signature import Array, columns_from_frame, matrix_from_frame
from lockgate.store.atomic import naming_full_disk, replacing

if TYPE_CHECKING:
    import polars as pl

PREDICTION = "prediction"

# Pieces that wait for their turn to be written, beside those that are being answered.
_WAITING = 2


class Scored(NamedTuple):
    """What was done."""

    rows: int
    columns: tuple[str, ...]


def score_file(
    model: LoadedModel,
    source: Path,
    target: Path,
    *,
    batch_rows: int = 32_768,
    only_predictions: bool = False,
    probabilities: bool = False,
) -> Scored:
    """Write `source` with the further column `prediction`, and `probability_<class>` each where asked for, to `target`.

    The suffix of each says its format. Raises InvalidInput for a table that the model does not take, naming the column,
    or fails on, and for an output that cannot be written. `target` is then as it was.
    """
    suffix = file_suffix(target)
    if suffix == ".csv.gz":
        raise InvalidInput(f"{target}: compressed CSV is read, but not written; choose .csv, .parquet or .arrow.")
    if target.exists() and target.samefile(source):
        raise InvalidInput(f"{target} is the input file itself.")
    kept: dict[str, pl.DataType] = {} if only_predictions else dict(scan_frame(source).collect_schema())
    added = _added(model, probabilities=probabilities)
    if twice := sorted(set(kept) & set(added)):
        raise InvalidInput(
            f"{source} has a column {twice[0]!r} already.", hint="rename it, or write --only-predictions"
        )
    scorer = _Scorer(model, source, list(kept), list(added), batch_rows)
    with naming_full_disk(target), replacing(target) as temporary:
        _sink(scorer, {**kept, **added}, temporary, suffix, batch_rows)
    return Scored(scorer.rows, (*kept, *added))


class _Scorer:
    """The frames of the answer, one after the other. Keeps the error that ended it, which Polars would reword."""

    def __init__(self, model: LoadedModel, source: Path, kept: list[str], added: list[str], batch_rows: int) -> None:
        self._model = model
        self._source = source
        self._kept = kept
        self._added = added
        self._batch_rows = batch_rows
        self.rows = 0
        self.error: LockgateError | None = None

    def frames(self) -> Iterator["pl.DataFrame"]:
        """In the order of the rows, however many are answered at a time."""
        workers = (os.cpu_count() or 1) if self._model.is_thread_safe else 1
        begun: deque[Future[pl.DataFrame]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="lockgate-score")
        try:
            for frame in iter_frames(self._source, self._batch_rows):
                begun.append(pool.submit(self._scored, frame, self.rows))
                self.rows += frame.height
                if len(begun) == workers + _WAITING:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        except LockgateError as error:
            self.error = error
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _scored(self, frame: "pl.DataFrame", first_row: int) -> "pl.DataFrame":
        import polars as pl

        try:
            values = self._answers(frame)
        except LockgateError as error:
            place = f"{self._source}, rows from {first_row}"
            raise type(error)(f"{place}: {error.message}", hint=error.hint) from error
        # The model is the user's code and may raise anything.
        except Exception as error:
            raise InvalidInput(
                f"{self._source}, rows from {first_row}: the model failed ({type(error).__name__}: {error})."
            ) from error
        columns = [pl.Series(name, array) for name, array in zip(self._added, values, strict=True)]
        return frame.select(self._kept).with_columns(columns) if self._kept else pl.DataFrame(columns)

    def _answers(self, frame: "pl.DataFrame") -> list[Array]:
        model = self._model
        if model.takes_matrix and model.matrix_dtype is not None:
            matrix = matrix_from_frame(frame, model.signature, model.matrix_dtype)
            if len(self._added) == 1:
                return [_plain(model.predict_matrix(matrix))]
            answer = model.answer_matrix(matrix)
        else:
            columns = columns_from_frame(frame, model.signature)
            if len(self._added) == 1:
                return [_plain(model.predict(columns))]
            answer = model.answer(columns)
        assert answer.scores is not None
        return [_plain(answer.predictions), *answer.scores.astype("float64").T]


def _added(model: LoadedModel, *, probabilities: bool) -> dict[str, "pl.DataType"]:
    """The further columns with their types, which must be known before the first row."""
    sample = _plain(model.predict(saved_example(model.path, model.signature)))
    names = {PREDICTION: _polars_type(sample)}
    if probabilities:
        if model.classes is None:
            raise InvalidInput("the model is no classifier with probabilities.")
        names |= {f"probability_{label}": _polars_type(np.zeros(0)) for label in model.classes}
    return names


def _plain(predictions: Array) -> Array:
    if predictions.ndim != 1:
        raise InvalidInput(f"the model answers with {predictions.ndim} dimensions; files take one prediction a row.")
    return predictions.astype(str).astype(object) if predictions.dtype.kind in "OU" else predictions


def _polars_type(array: Array) -> "pl.DataType":
    import polars as pl

    return pl.String() if array.dtype.kind in "OU" else pl.Series(array[:0]).dtype


def _sink(scorer: _Scorer, schema: dict[str, "pl.DataType"], path: Path, suffix: str, batch_rows: int) -> None:
    import polars as pl
    from polars.io.plugins import register_io_source

    def source(
        with_columns: Sequence[str] | None, predicate: Any, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        # A sink asks for everything: nothing of what a query could push down here is ever set.
        return scorer.frames()

    lazy = register_io_source(source, schema=schema)
    try:
        if suffix == ".csv":
            lazy.sink_csv(path)
        elif suffix == ".parquet":
            # lz4: of the time that zstd takes for numbers a third, of the size a tenth more.
            lazy.sink_parquet(path, row_group_size=max(batch_rows, 16_384), compression="lz4")
        else:
            lazy.sink_ipc(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        if scorer.error is not None:
            raise scorer.error from error
        raise InvalidInput(f"{path} cannot be written: {str(error).splitlines()[0]}.") from error
