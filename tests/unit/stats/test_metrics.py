"""Every metric has the value that scikit-learn's function of that name gives."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as theirs

from lockgate.errors import InvalidInput
from lockgate.stats.metrics import BINARY, METRICS, MULTICLASS, REGRESSION, compute_metric

ZERO = {"zero_division": 0.0}
LABELS: dict[str, Callable[..., float]] = {
    "accuracy": theirs.accuracy_score,
    "balanced_accuracy": theirs.balanced_accuracy_score,
    "matthews_corrcoef": theirs.matthews_corrcoef,
    "precision": lambda y, p: theirs.precision_score(y, p, **ZERO),
    "recall": lambda y, p: theirs.recall_score(y, p, **ZERO),
    "f1": lambda y, p: theirs.f1_score(y, p, **ZERO),
    "precision_macro": lambda y, p: theirs.precision_score(y, p, average="macro", **ZERO),
    "recall_macro": lambda y, p: theirs.recall_score(y, p, average="macro", **ZERO),
    "f1_macro": lambda y, p: theirs.f1_score(y, p, average="macro", **ZERO),
    "f1_weighted": lambda y, p: theirs.f1_score(y, p, average="weighted", **ZERO),
}
SCORES: dict[str, Callable[..., float]] = {
    "roc_auc": theirs.roc_auc_score,
    "average_precision": theirs.average_precision_score,
    "log_loss": theirs.log_loss,
    "brier": theirs.brier_score_loss,
}
NUMBERS: dict[str, Callable[..., float]] = {
    "mae": theirs.mean_absolute_error,
    "mse": theirs.mean_squared_error,
    "rmse": theirs.root_mean_squared_error,
    "mape": theirs.mean_absolute_percentage_error,
    "median_absolute_error": theirs.median_absolute_error,
    "max_error": theirs.max_error,
    "r2": theirs.r2_score,
}
SIZES = (1, 2, 3, 10, 500)


def ask(name: str, task: Any, y: Any, pred: Any, scores: Any = None, **options: Any) -> float:
    return compute_metric(name, task, np.asarray(y), np.asarray(pred), scores, **options)


def test_every_metric_is_compared_here() -> None:
    assert METRICS.keys() == LABELS.keys() | SCORES.keys() | NUMBERS.keys()


@pytest.mark.parametrize("name", [name for name in LABELS if BINARY in METRICS[name].tasks])
@pytest.mark.parametrize("rows", SIZES)
def test_labels_of_two_classes(name: str, rows: int) -> None:
    rng = np.random.default_rng(rows)
    for share in (0.0, 0.3, 1.0):
        y, pred = rng.random(rows) < share, rng.random(rows) < 0.4
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn on a class that is not there
            expected = LABELS[name](y, pred)
        assert ask(name, BINARY, y, pred, positive=True) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in LABELS if MULTICLASS in METRICS[name].tasks])
@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("dtype", ["U1", "object", "int64"])
def test_labels_of_many_classes(name: str, rows: int, dtype: str) -> None:
    rng = np.random.default_rng(rows)
    y, pred = rng.choice(list("1234"), rows).astype(dtype), rng.choice(list("2345"), rows).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = LABELS[name](y, pred)
    assert ask(name, MULTICLASS, y, pred) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("rows", [2, 3, 10, 500])
def test_scores_of_two_classes_with_ties(name: str, rows: int) -> None:
    rng = np.random.default_rng(rows)
    for digits in (1, 8):
        y, scores = rng.random(rows) < 0.4, rng.random(rows).round(digits)
        y[:2] = (False, True)
        expected = SCORES[name](y, scores)
        assert ask(name, BINARY, y, y, scores, positive=True) == pytest.approx(expected, rel=1e-12)
        assert ask(name, BINARY, y, y, scores.astype(np.float32), positive=True) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options"), [("roc_auc", {"multi_class": "ovr"}), ("average_precision", {}), ("log_loss", {})]
)
def test_scores_of_many_classes(name: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(7)
    y, scores = rng.integers(0, 3, 300), rng.dirichlet(np.ones(3), 300)
    found = ask(name, MULTICLASS, y, y, scores, classes=(0, 1, 2))
    assert found == pytest.approx(SCORES[name](y, scores, **options), rel=1e-12)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("rows", [2, 3, 10, 500])
def test_numbers(name: str, rows: int) -> None:
    rng = np.random.default_rng(rows)
    y = rng.gamma(2, 3, rows)
    for truth, pred in ((y, y + rng.normal(size=rows)), (np.full(rows, 2), y), (np.full(rows, 2), np.full(rows, 2))):
        assert ask(name, REGRESSION, truth, pred) == pytest.approx(NUMBERS[name](truth, pred), rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_define_no_metric(bad: float) -> None:
    with pytest.raises(InvalidInput, match="NaN or infinite"):
        ask("mae", REGRESSION, [1.0, 2.0], [1.0, bad])
    with pytest.raises(InvalidInput, match="NaN or infinite"):
        ask("roc_auc", BINARY, [0, 1], [0, 1], np.array([0.1, bad]), positive=1)


def test_labels_of_other_types_are_not_taken_for_wrong_ones() -> None:
    with pytest.raises(InvalidInput, match="cannot be compared"):
        ask("accuracy", MULTICLASS, [0, 1], ["0", "1"])
    with pytest.raises(InvalidInput, match="several types"):
        ask("accuracy", MULTICLASS, np.array(["a", "b"], dtype=object), np.array([1, 2], dtype=object))


def test_one_row_has_no_explained_variance() -> None:
    with pytest.raises(InvalidInput, match="one row"):
        ask("r2", REGRESSION, [1.0], [1.0])
