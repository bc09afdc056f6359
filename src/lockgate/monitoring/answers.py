"""What a model answered, as the profile of its release and the metrics need it.

The log keeps the answer as the client got it: a label or a number, or one probability a class.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lockgate.entities import Scalar
from lockgate.project import Project

Output = Scalar | tuple[float, ...]


class Answers:
    """Reads outputs of one model. `classes` is the order of its probabilities; ascending labels where it is unknown."""

    def __init__(self, project: Project, classes: Sequence[Scalar] | None) -> None:
        self._task = project.task
        self._positive = project.evaluate.positive if project.evaluate else None
        self._threshold = project.evaluate.threshold if project.evaluate else 0.5
        self._classes = tuple(classes) if classes else None

    def shown(self, output: Output) -> Scalar:
        """The value of the profile's `prediction` column: a score, a label or a number. None where it is unknown."""
        if isinstance(output, tuple):
            if self._task == "binary_classification":
                return self._positive_score(output, self._classes)
            if self._task == "multiclass_classification":
                return self._classes[int(np.argmax(output))] if self._classes else None
            return output[0] if output else None
        return output

    def scored(
        self, outputs: Sequence[Output], labels: Sequence[Scalar]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float64] | None, tuple[Scalar, ...], Scalar]:
        """(truth, predicted labels, scores, classes, positive) as `compute_metric` takes them."""
        truth = np.asarray(list(labels))
        if self._task == "regression":
            numbers = [output[0] if isinstance(output, tuple) else output for output in outputs]
            return truth.astype(np.float64), np.asarray(numbers, dtype=np.float64), None, (), None
        classes = self._classes or tuple(sorted({*labels}, key=lambda label: (str(type(label)), label)))
        if self._task == "multiclass_classification":
            return self._many(truth, outputs, classes)
        return self._two(truth, outputs, classes)

    def _two(
        self, truth: npt.NDArray[Any], outputs: Sequence[Output], classes: tuple[Scalar, ...]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float64] | None, tuple[Scalar, ...], Scalar]:
        positive = self._positive if self._positive is not None else classes[-1]
        negative = next((value for value in classes if value != positive), None)
        if negative is None and isinstance(positive, int | float):
            negative = 0 if positive else 1
        if not all(isinstance(output, tuple | float) for output in outputs):
            return truth, _like(truth, list(outputs)), None, classes, positive
        scores = np.asarray(
            [self._positive_score(o, classes) if isinstance(o, tuple) else o for o in outputs], dtype=np.float64
        )
        predicted = [positive if score >= self._threshold else negative for score in scores.tolist()]
        return truth, _like(truth, predicted), scores, classes, positive

    def _many(
        self, truth: npt.NDArray[Any], outputs: Sequence[Output], classes: tuple[Scalar, ...]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float64] | None, tuple[Scalar, ...], Scalar]:
        tables = [output for output in outputs if isinstance(output, tuple) and len(output) == len(classes)]
        if len(tables) < len(outputs):
            return truth, _like(truth, [self.shown(output) for output in outputs]), None, classes, None
        scores = np.asarray(tables, dtype=np.float64)
        return truth, _like(truth, [classes[k] for k in scores.argmax(axis=1).tolist()]), scores, classes, None

    def _positive_score(self, output: tuple[float, ...], classes: tuple[Scalar, ...] | None) -> float | None:
        if not output:
            return None
        if self._positive is not None and classes and len(classes) == len(output) and self._positive in classes:
            return output[classes.index(self._positive)]
        return output[-1]


def _like(truth: npt.NDArray[Any], predicted: list[Any]) -> npt.NDArray[Any]:
    """Predicted labels in the type of the truth, so that 1 and 1.0 and '1' are not told apart."""
    values = np.asarray(predicted)
    if truth.dtype.kind in "US":
        return values.astype(np.str_)
    return values.astype(truth.dtype) if values.dtype.kind in "biuf" else values
