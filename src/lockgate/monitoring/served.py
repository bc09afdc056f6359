"""The rows that were served in a window, read once and in bounded memory: counts, latencies and a profile a version."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from lockgate.data.profile import PREDICTION, Profile, merge, profile_frame
from lockgate.entities import Prediction
from lockgate.monitoring.answers import Answer, Answers

if TYPE_CHECKING:
    import polars as pl

# Rows that are turned into columns at a time.
_BATCH = 20_000
_SERVER_ERROR = 500
_REFUSED = 400


class Served:
    """What one version answered. A request that the client got wrong (4xx) is no error of ours and has no row."""

    def __init__(self) -> None:
        self.rows = 0
        self.errors = 0
        self._latencies = array("d")
        self.profile: Profile | None = None

    def add(self, predictions: list[Prediction], reference: Profile | None, answers: Answers) -> None:
        self.errors += sum(item.status >= _SERVER_ERROR for item in predictions)
        answered = [item for item in predictions if item.status < _REFUSED]
        self.rows += len(answered)
        self._latencies.extend(item.latency_ms for item in answered)
        if reference is None or not answered:
            return
        profile = profile_frame(_frame(answered, reference, answers), reference=reference)
        self.profile = merge(self.profile, profile) if self.profile is not None else profile

    @property
    def error_rate(self) -> float:
        """Share of requests that failed on our side."""
        asked = self.rows + self.errors
        return self.errors / asked if asked else 0.0

    def latency_ms(self, quantile: float) -> float | None:
        """None where nothing was answered."""
        import numpy as np

        return float(np.quantile(np.asarray(self._latencies), quantile)) if self._latencies else None


def batches(predictions: Iterable[Prediction]) -> Iterator[list[Prediction]]:
    """The stream in lists."""
    stream = iter(predictions)
    while batch := list(islice(stream, _BATCH)):
        yield batch


def _frame(answered: list[Prediction], reference: Profile, answers: Answers) -> "pl.DataFrame":
    import polars as pl

    columns: dict[str, list[Any]] = {
        name: [item.inputs.get(name) for item in answered] for name in reference.columns if name != PREDICTION
    }
    if PREDICTION in reference.columns:
        columns[PREDICTION] = [answers.shown(Answer(item.output, item.scores)) for item in answered]
    # strict=False: a column where one client sends text and another numbers is text, and counted as such
    return pl.DataFrame([pl.Series(name, values, strict=False) for name, values in columns.items()])
