"""What a model answered, as the profile of its release and the metrics need it.

The log keeps the answer as the client got it, a label or a number, and a classifier's probabilities beside it in the
order of the model's classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lockgate.entities import Scalar
from lockgate.project import Project

Output = Scalar | tuple[float, ...]


class Answer(NamedTuple):
    """What one logged prediction says."""

    output: Output
    scores: tuple[float, ...] | None = None


class Answers:
    """Reads the answers of one model. `classes` is the order of its probabilities; ascending where it is unknown."""

    def __init__(self, project: Project, classes: Sequence[Scalar] | None) -> None:
        self.task = project.task
        self.positive = project.evaluate.positive if project.evaluate else None
        self.threshold = project.evaluate.threshold if project.evaluate else 0.5
        self.classes = tuple(classes) if classes else None

    def shown(self, answer: Answer) -> Scalar:
        """The value of the profile's `prediction` column: the score of the positive class, a label or a number."""
        if self.task == "binary_classification" and (score := self.positive_score(answer)) is not None:
            return score
        if isinstance(answer.output, tuple):
            return answer.output[0] if len(answer.output) == 1 else None
        return answer.output

    def positive_score(self, answer: Answer) -> float | None:
        """The probability of the positive class; None where the answer holds none."""
        scores = answer.scores if answer.scores is not None else answer.output
        if isinstance(scores, float) and not isinstance(self.positive, float):
            return scores if 0.0 <= scores <= 1.0 and not self._is_class(scores) else None
        if not isinstance(scores, tuple) or not scores:
            return None
        if self.positive is None or len(scores) == 1:
            return scores[-1]
        if self.classes and len(self.classes) == len(scores) and self.positive in self.classes:
            return scores[self.classes.index(self.positive)]
        # the label that was answered is the more probable one, which tells the order
        likelier = max(range(len(scores)), key=scores.__getitem__)
        return scores[likelier if answer.output == self.positive else len(scores) - 1 - likelier]

    def _is_class(self, value: float) -> bool:
        return self.classes is not None and value in self.classes
