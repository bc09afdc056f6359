"""Answers beside their truth, as the metrics take them: the one part of a look that needs numpy."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lockgate.entities import Scalar
from lockgate.monitoring.answers import Answer, Answers


class Scored(NamedTuple):
    """The arguments of `compute_metric`."""

    truth: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    scores: npt.NDArray[np.float64] | None
    classes: tuple[Scalar, ...]
    positive: Scalar


def score(reader: Answers, answers: Sequence[Answer], labels: Sequence[Scalar]) -> Scored:
    """The answers as `reader` reads them. Raises TypeError or ValueError where labels cannot be compared with them."""
    truth = np.asarray(list(labels))
    if reader.task == "regression":
        numbers = [a.output[0] if isinstance(a.output, tuple) else a.output for a in answers]
        return Scored(truth.astype(np.float64), np.asarray(numbers, dtype=np.float64), None, (), None)
    if reader.task == "multiclass_classification":
        return _many(reader, truth, answers)
    return _two(reader, truth, answers)


def _two(reader: Answers, truth: npt.NDArray[Any], answers: Sequence[Answer]) -> Scored:
    scores = [reader.positive_score(answer) for answer in answers]
    outputs = [answer.output for answer in answers]
    is_scored = all(score is not None for score in scores)
    # a model without probabilities may answer with the score itself
    is_score = is_scored and all(isinstance(output, float) for output in outputs)
    given = [] if is_score else [output for output in outputs if not isinstance(output, tuple)]
    classes = reader.classes or _ascending([*truth.tolist(), *given])
    positive = reader.positive if reader.positive is not None else classes[-1]
    if not is_scored:
        return Scored(truth, _like(truth, outputs), None, classes, positive)
    negative = next((value for value in classes if value != positive), None)
    if negative is None:
        negative = 0 if positive else 1
    values = np.asarray(scores, dtype=np.float64)
    predicted = [positive if score >= reader.threshold else negative for score in values.tolist()]
    return Scored(truth, _like(truth, predicted), values, classes, positive)


def _many(reader: Answers, truth: npt.NDArray[Any], answers: Sequence[Answer]) -> Scored:
    predicted = _like(truth, [answer.output for answer in answers])
    classes = reader.classes or _ascending([*truth.tolist(), *predicted.tolist()])
    scores = [answer.scores for answer in answers if answer.scores is not None]
    if len(scores) < len(answers) or any(len(row) != len(classes) for row in scores):
        return Scored(truth, predicted, None, classes, None)
    return Scored(truth, predicted, np.asarray(scores, dtype=np.float64), classes, None)


def _ascending(values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    return tuple(sorted(set(values)))  # type: ignore[type-var]  # of one type; TypeError where they are not


def _like(truth: npt.NDArray[Any], predicted: list[Any]) -> npt.NDArray[Any]:
    """Predicted labels in the type of the truth, so that 1 and 1.0 and '1' are not told apart."""
    values = np.asarray(predicted)
    if truth.dtype.kind in "US":
        return values.astype(np.str_)
    return values.astype(truth.dtype) if values.dtype.kind in "biuf" else values
