"""The rows that were served in a window, read once and in bounded memory: counts, latencies and a profile a version."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice

from lockgate.data.profile import PREDICTION, Profile, merge
from lockgate.data.profile_values import profile_values
from lockgate.entities import Prediction, Scalar
from lockgate.monitoring.answers import Answer, Answers

# Rows that lie in memory at a time: of 100 columns, about 6 MB.
_BATCH = 1_000
_SERVER_ERROR = 500
_REFUSED = 400


class Served:
    """What one version answered. A request that the client got wrong (4xx) is no error of ours and has no row."""

    def __init__(self) -> None:
        self.rows = 0
        self.errors = 0
        self._latencies: Counter[float] = Counter()  # the log keeps microseconds: few distinct values
        self.profile: Profile | None = None

    def add(self, predictions: list[Prediction], reference: Profile | None, answers: Answers) -> None:
        self.errors += sum(item.status >= _SERVER_ERROR for item in predictions)
        answered = [item for item in predictions if item.status < _REFUSED]
        self.rows += len(answered)
        self._latencies.update(item.latency_ms for item in answered)
        if reference is None or not answered:
            return
        columns = _columns(answered, reference, answers)
        profile = profile_values(columns, rows=len(answered), reference=reference)
        self.profile = merge(self.profile, profile) if self.profile is not None else profile

    @property
    def error_rate(self) -> float:
        """Share of requests that failed on our side."""
        asked = self.rows + self.errors
        return self.errors / asked if asked else 0.0

    def latency_ms(self, quantile: float) -> float | None:
        """Between the two nearest latencies in proportion; None where nothing was answered."""
        if not self.rows:
            return None
        values = sorted(self._latencies)
        upto = list(accumulate(self._latencies[value] for value in values))
        at = quantile * (self.rows - 1)
        below, above = (values[bisect_right(upto, rank)] for rank in (math.floor(at), math.ceil(at)))
        return below + (above - below) * (at - math.floor(at))


def batches(predictions: Iterable[Prediction]) -> Iterator[list[Prediction]]:
    """The stream in lists."""
    stream = iter(predictions)
    while batch := list(islice(stream, _BATCH)):
        yield batch


def _columns(answered: list[Prediction], reference: Profile, answers: Answers) -> dict[str, list[Scalar]]:
    columns: dict[str, list[Scalar]] = {
        name: [item.inputs.get(name) for item in answered] for name in reference.columns if name != PREDICTION
    }
    if PREDICTION in reference.columns:
        columns[PREDICTION] = [answers.shown(Answer(item.output, item.scores)) for item in answered]
    return columns
