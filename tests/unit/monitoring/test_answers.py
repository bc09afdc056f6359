from typing import Any

import numpy as np
import pytest

from lockgate.entities import Scalar
from lockgate.monitoring.answers import Answers, Output
from lockgate.project import Evaluate, Project


def answers(task: Any, classes: tuple[Scalar, ...] | None = None, **evaluate: Any) -> Answers:
    return Answers(Project(model="m", task=task, evaluate=Evaluate(data="d", label="y", **evaluate)), classes)


@pytest.mark.parametrize(
    ("made", "output", "shown"),
    [
        (answers("binary_classification"), (0.2, 0.8), 0.8),
        (answers("binary_classification"), (0.8,), 0.8),
        (answers("binary_classification"), 0.7, 0.7),
        (answers("binary_classification"), 1, 1),
        (answers("binary_classification", ("bad", "good"), positive="bad"), (0.2, 0.8), 0.2),
        (answers("multiclass_classification", ("a", "b", "c")), (0.1, 0.7, 0.2), "b"),
        (answers("multiclass_classification"), (0.1, 0.7, 0.2), None),
        (answers("regression"), (3.5,), 3.5),
        (answers("regression"), 3, 3),
    ],
)
def test_the_prediction_column_holds_what_the_training_profile_holds(
    made: Answers, output: Output, shown: Scalar
) -> None:
    assert made.shown(output) == shown


def test_binary_scores_become_labels_of_the_truths_type() -> None:
    truth, predicted, scores, classes, positive = answers("binary_classification", ("no", "yes")).scored(
        [(0.9, 0.1), (0.2, 0.8)], ["no", "yes"]
    )

    assert predicted.tolist() == truth.tolist() == ["no", "yes"]
    assert scores is not None
    assert scores.tolist() == [0.1, 0.8]
    assert (classes, positive) == (("no", "yes"), "yes")


def test_one_class_of_labels_still_has_two_answers() -> None:
    _, predicted, _, _, positive = answers("binary_classification").scored([0.9, 0.1], [1, 1])

    assert (predicted.tolist(), positive) == ([1, 0], 1)


def test_labels_without_scores_are_compared_as_labels() -> None:
    _, predicted, scores, _, _ = answers("binary_classification").scored([1, 0], [1, 1])

    assert (predicted.tolist(), scores) == ([1, 0], None)


def test_classes_are_told_by_the_largest_probability() -> None:
    _, predicted, scores, _, _ = answers("multiclass_classification", (0, 1, 2)).scored(
        [(0.1, 0.2, 0.7), (0.6, 0.3, 0.1)], [2, 1]
    )

    assert predicted.tolist() == [2, 0]
    assert scores is not None
    assert scores.shape == (2, 3)


def test_regression_takes_numbers() -> None:
    truth, predicted, scores, _, _ = answers("regression").scored([1, (2.5,)], [1.5, 2])

    assert (truth.dtype, scores) == (np.float64, None)
    assert predicted.tolist() == [1.0, 2.5]
