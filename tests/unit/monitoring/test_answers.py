from typing import Any

import numpy as np
import pytest

from lockgate.entities import Scalar
from lockgate.monitoring.answers import Answer, Answers
from lockgate.monitoring.scored import score
from lockgate.project import Evaluate, Project


def answers(task: Any, classes: tuple[Scalar, ...] | None = None, **evaluate: Any) -> Answers:
    return Answers(Project(model="m", task=task, evaluate=Evaluate(data="d", label="y", **evaluate)), classes)


@pytest.mark.parametrize(
    ("made", "answer", "shown"),
    [
        (answers("binary_classification"), Answer(1, (0.2, 0.8)), 0.8),
        (answers("binary_classification"), Answer((0.8,)), 0.8),
        (answers("binary_classification"), Answer(0.7), 0.7),
        (answers("binary_classification"), Answer(1), 1),
        (answers("binary_classification"), Answer("yes"), "yes"),
        (answers("binary_classification", (0.0, 1.0)), Answer(1.0), 1.0),
        (answers("binary_classification", ("bad", "good"), positive="bad"), Answer("good", (0.2, 0.8)), 0.2),
        (answers("binary_classification", positive="bad"), Answer("good", (0.2, 0.8)), 0.2),
        (answers("binary_classification", positive="bad"), Answer("bad", (0.9, 0.1)), 0.9),
        (answers("multiclass_classification"), Answer("b", (0.1, 0.7, 0.2)), "b"),
        (answers("regression"), Answer((3.5,)), 3.5),
        (answers("regression"), Answer(3), 3),
        (answers("regression"), Answer((3.5, 4.5)), None),
    ],
)
def test_the_prediction_column_holds_what_the_training_profile_holds(
    made: Answers, answer: Answer, shown: Scalar
) -> None:
    assert made.shown(answer) == shown


def test_binary_scores_become_labels_of_the_truths_type() -> None:
    found = score(
        answers("binary_classification"), [Answer("no", (0.9, 0.1)), Answer("yes", (0.2, 0.8))], ["no", "yes"]
    )

    assert found.predicted.tolist() == found.truth.tolist() == ["no", "yes"]
    assert found.scores is not None
    assert found.scores.tolist() == [0.1, 0.8]
    assert (found.classes, found.positive) == (("no", "yes"), "yes")


def test_the_threshold_of_the_project_counts() -> None:
    found = score(
        answers("binary_classification", threshold=0.3), [Answer(0, (0.6, 0.4)), Answer(1, (0.1, 0.9))], [0, 1]
    )

    assert found.predicted.tolist() == [1, 1]


def test_one_class_of_labels_still_has_two_answers() -> None:
    found = score(answers("binary_classification"), [Answer(0.9), Answer(0.1)], [1, 1])

    assert (found.predicted.tolist(), found.positive) == ([1, 0], 1)


def test_labels_without_scores_are_compared_as_labels() -> None:
    found = score(answers("binary_classification"), [Answer(1), Answer(0)], [1, 1])

    assert (found.predicted.tolist(), found.scores) == ([1, 0], None)


def test_classes_come_with_their_table_of_probabilities() -> None:
    found = score(
        answers("multiclass_classification"), [Answer(2, (0.1, 0.2, 0.7)), Answer(0, (0.6, 0.3, 0.1))], [2, 1]
    )

    assert found.predicted.tolist() == [2, 0]
    assert found.classes == (0, 1, 2)
    assert found.scores is not None
    assert found.scores.shape == (2, 3)


def test_regression_takes_numbers() -> None:
    found = score(answers("regression"), [Answer(1), Answer((2.5,))], [1.5, 2])

    assert (found.truth.dtype, found.scores) == (np.float64, None)
    assert found.predicted.tolist() == [1.0, 2.5]


def test_labels_of_another_kind_raise() -> None:
    with pytest.raises((TypeError, ValueError)):
        score(answers("regression"), [Answer(1)], ["many"])
