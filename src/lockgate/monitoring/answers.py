"""What a model answered, as the profile of its release and the metrics need it.

The log keeps the answer as the client got it, a label or a number, and a classifier's probabilities beside it in the
order of the model's classes.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lockgate.entities import Scalar
from lockgate.project import Project

Output = Scalar | tuple[float, ...]


class Answer(NamedTuple):
    """What one logged prediction says."""

    output: Output
    scores: tuple[float, ...] | None = None


class Scored(NamedTuple):
    """Answers beside their truth, as `compute_metric` takes them."""

    truth: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    scores: npt.NDArray[np.float64] | None
    classes: tuple[Scalar, ...]
    positive: Scalar


class Answers:
    """Reads the answers of one model. `classes` is the order of its probabilities; ascending where it is unknown."""

    def __init__(self, project: Project, classes: Sequence[Scalar] | None) -> None:
        self._task = project.task
        self._positive = project.evaluate.positive if project.evaluate else None
        self._threshold = project.evaluate.threshold if project.evaluate else 0.5
        self._classes = tuple(classes) if classes else None

    def shown(self, answer: Answer) -> Scalar:
        """The value of the profile's `prediction` column: the score of the positive class, a label or a number."""
        if self._task == "binary_classification" and (score := self._positive_score(answer)) is not None:
            return score
        if isinstance(answer.output, tuple):
            return answer.output[0] if len(answer.output) == 1 else None
        return answer.output

    def scored(self, answers: Sequence[Answer], labels: Sequence[Scalar]) -> Scored:
        """Raises TypeError or ValueError where labels and answers are of kinds that cannot be compared."""
        truth = np.asarray(list(labels))
        if self._task == "regression":
            numbers = [a.output[0] if isinstance(a.output, tuple) else a.output for a in answers]
            return Scored(truth.astype(np.float64), np.asarray(numbers, dtype=np.float64), None, (), None)
        if self._task == "multiclass_classification":
            return self._many(truth, answers)
        return self._two(truth, answers)

    def _two(self, truth: npt.NDArray[Any], answers: Sequence[Answer]) -> Scored:
        scores = [self._positive_score(answer) for answer in answers]
        outputs = [answer.output for answer in answers]
        is_scored = all(score is not None for score in scores)
        # a model without probabilities may answer with the score itself
        is_score = is_scored and all(isinstance(output, float) for output in outputs)
        given = [] if is_score else [output for output in outputs if not isinstance(output, tuple)]
        classes = self._classes or _ascending([*truth.tolist(), *given])
        positive = self._positive if self._positive is not None else classes[-1]
        if not is_scored:
            return Scored(truth, _like(truth, outputs), None, classes, positive)
        negative = next((value for value in classes if value != positive), None)
        if negative is None:
            negative = 0 if positive else 1
        values = np.asarray(scores, dtype=np.float64)
        predicted = [positive if score >= self._threshold else negative for score in values.tolist()]
        return Scored(truth, _like(truth, predicted), values, classes, positive)

    def _many(self, truth: npt.NDArray[Any], answers: Sequence[Answer]) -> Scored:
        predicted = _like(truth, [answer.output for answer in answers])
        classes = self._classes or _ascending([*truth.tolist(), *predicted.tolist()])
        scores = [answer.scores for answer in answers if answer.scores is not None]
        if len(scores) < len(answers) or any(len(row) != len(classes) for row in scores):
            return Scored(truth, predicted, None, classes, None)
        return Scored(truth, predicted, np.asarray(scores, dtype=np.float64), classes, None)

    def _positive_score(self, answer: Answer) -> float | None:
        scores = answer.scores if answer.scores is not None else answer.output
        if isinstance(scores, float) and not isinstance(self._positive, float):
            return scores if 0.0 <= scores <= 1.0 and not self._is_class(scores) else None
        if not isinstance(scores, tuple) or not scores:
            return None
        if self._positive is None or len(scores) == 1:
            return scores[-1]
        if self._classes and len(self._classes) == len(scores) and self._positive in self._classes:
            return scores[self._classes.index(self._positive)]
        # the label that was answered is the more probable one, which tells the order
        likelier = max(range(len(scores)), key=scores.__getitem__)
        return scores[likelier if answer.output == self._positive else len(scores) - 1 - likelier]

    def _is_class(self, value: float) -> bool:
        return self._classes is not None and value in self._classes


def _ascending(values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    return tuple(sorted(set(values)))  # type: ignore[type-var]  # of one type; TypeError where they are not


def _like(truth: npt.NDArray[Any], predicted: list[Any]) -> npt.NDArray[Any]:
    """Predicted labels in the type of the truth, so that 1 and 1.0 and '1' are not told apart."""
    values = np.asarray(predicted)
    if truth.dtype.kind in "US":
        return values.astype(np.str_)
    return values.astype(truth.dtype) if values.dtype.kind in "biuf" else values
