"""The metrics that gates and monitors speak of: scikit-learn's functions under scikit-learn's names.

`scores` is the probability of the positive class (n,) for a binary task, the class probabilities (n, k) in the order
of `classes` for a multiclass one, and None for a regression. A metric that the rows do not define (one class only, no
rows) raises InvalidInput with the reason; it is never reported as zero.

    >>> import numpy as np
    >>> y = np.array([0, 0, 1, 1])
    >>> compute_metric("roc_auc", "binary_classification", y, y, np.array([0.1, 0.4, 0.35, 0.8]), positive=1)
    0.75
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lockgate.entities import Scalar
from lockgate.errors import InvalidInput
from lockgate.project import Task

Array = npt.NDArray[Any]  # labels may be of any type
Compute = Callable[[Array, Array, Array | None, Sequence[Scalar], Scalar], float]

BINARY: Task = "binary_classification"
MULTICLASS: Task = "multiclass_classification"
REGRESSION: Task = "regression"


class Metric(NamedTuple):
    """One metric: for which tasks it is defined, which direction is better, and how it is computed."""

    name: str
    tasks: frozenset[Task]
    greater_is_better: bool
    needs_scores: bool
    compute: Compute


def find_metric(name: str, task: Task) -> Metric:
    """The metric of that name. Raises InvalidInput with the nearest name, or with the task's own metrics."""
    metric = METRICS.get(name)
    known = sorted(n for n, m in METRICS.items() if task in m.tasks)
    if metric is None:
        nearest = get_close_matches(name, known, n=1)
        raise InvalidInput(
            f"there is no metric {name!r}.",
            hint=f"did you mean {nearest[0]!r}?" if nearest else f"metrics of a {task}: {', '.join(known)}",
        )
    if task not in metric.tasks:
        raise InvalidInput(f"{name} is no metric of a {task}.", hint=f"its metrics are: {', '.join(known)}")
    return metric


def compute_metric(
    name: str,
    task: Task,
    y_true: Array,
    y_pred: Array,
    scores: Array | None,
    *,
    classes: Sequence[Scalar] = (),
    positive: Scalar = None,
) -> float:
    """The value of one metric on some rows. Raises InvalidInput where the rows do not define it."""
    metric = find_metric(name, task)
    if len(y_true) == 0:
        raise InvalidInput(f"{name} is not defined on no rows.")
    if metric.needs_scores and scores is None:
        raise InvalidInput(f"{name} needs class probabilities, and this model gives none.")
    if metric.needs_scores and task != REGRESSION and len(np.unique(y_true)) < 2:
        raise InvalidInput(f"{name} is not defined where all {len(y_true)} rows have one class.")
    return float(metric.compute(y_true, y_pred, scores, classes, positive))


def default_metrics(task: Task) -> tuple[str, ...]:
    """What is reported without being asked for."""
    return {
        BINARY: ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "log_loss", "brier"),
        MULTICLASS: ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "log_loss"),
        REGRESSION: ("mae", "rmse", "r2", "median_absolute_error"),
    }[task]


def _labels(function: str, **options: Any) -> Compute:  # options of scikit-learn's function
    def compute(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
        import sklearn.metrics

        return float(getattr(sklearn.metrics, function)(y, pred, **options))

    return compute


def _positive(function: str) -> Compute:
    """Precision, recall and their kin: of the positive class on binary labels, macro-averaged on more classes."""

    def compute(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
        import sklearn.metrics

        metric = getattr(sklearn.metrics, function)
        if positive is None:
            return float(metric(y, pred, average="macro", zero_division=0.0))
        return float(metric(y == positive, pred == positive, zero_division=0.0))

    return compute


def _ranking(function: str) -> Compute:
    """Metrics of scores: of the positive class on binary labels, one class against the rest on more."""

    def compute(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
        import sklearn.metrics

        assert scores is not None
        metric = getattr(sklearn.metrics, function)
        if scores.ndim == 1:
            return float(metric(y == positive, scores))
        one_hot = y[:, None] == np.asarray(classes)[None, :]
        present = one_hot.any(axis=0) & ~one_hot.all(axis=0)
        return float(np.mean([metric(one_hot[:, k], scores[:, k]) for k in np.flatnonzero(present)]))

    return compute


def _log_loss(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
    """Mean of -log of the probability given to the truth, clipped like scikit-learn's at the type's resolution."""
    assert scores is not None
    if scores.ndim == 1:
        truth = np.where(y == positive, scores, 1.0 - scores)
    else:
        truth = scores[np.arange(len(y)), _positions(y, classes)]
    return float(-np.log(np.clip(truth, np.finfo(np.float64).eps, 1.0)).mean())


def _brier(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
    assert scores is not None
    if scores.ndim == 1:
        return float(np.mean((scores - (y == positive)) ** 2))
    one_hot = y[:, None] == np.asarray(classes)[None, :]
    return float(((scores - one_hot) ** 2).sum(axis=1).mean())


def _positions(y: Array, classes: Sequence[Scalar]) -> npt.NDArray[np.intp]:
    index = {value: i for i, value in enumerate(classes)}
    try:
        return np.array([index[value] for value in y.tolist()], dtype=np.intp)
    except KeyError as error:
        raise InvalidInput(f"the label {error.args[0]!r} is none of the model's classes {list(classes)}.") from error


def _table(*metrics: Metric) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in metrics}


_CLASSES = frozenset({BINARY, MULTICLASS})
_BINARY = frozenset({BINARY})
_MULTI = frozenset({MULTICLASS})
_NUMBERS = frozenset({REGRESSION})

METRICS: Mapping[str, Metric] = _table(
    Metric("accuracy", _CLASSES, True, False, _labels("accuracy_score")),
    Metric("balanced_accuracy", _CLASSES, True, False, _labels("balanced_accuracy_score")),
    Metric("matthews_corrcoef", _CLASSES, True, False, _labels("matthews_corrcoef")),
    Metric("precision", _BINARY, True, False, _positive("precision_score")),
    Metric("recall", _BINARY, True, False, _positive("recall_score")),
    Metric("f1", _BINARY, True, False, _positive("f1_score")),
    Metric("precision_macro", _MULTI, True, False, _positive("precision_score")),
    Metric("recall_macro", _MULTI, True, False, _positive("recall_score")),
    Metric("f1_macro", _MULTI, True, False, _positive("f1_score")),
    Metric("f1_weighted", _MULTI, True, False, _labels("f1_score", average="weighted", zero_division=0.0)),
    Metric("roc_auc", _CLASSES, True, True, _ranking("roc_auc_score")),
    Metric("average_precision", _CLASSES, True, True, _ranking("average_precision_score")),
    Metric("log_loss", _CLASSES, False, True, _log_loss),
    Metric("brier", _CLASSES, False, True, _brier),
    Metric("mae", _NUMBERS, False, False, _labels("mean_absolute_error")),
    Metric("mse", _NUMBERS, False, False, _labels("mean_squared_error")),
    Metric("rmse", _NUMBERS, False, False, _labels("root_mean_squared_error")),
    Metric("mape", _NUMBERS, False, False, _labels("mean_absolute_percentage_error")),
    Metric("median_absolute_error", _NUMBERS, False, False, _labels("median_absolute_error")),
    Metric("max_error", _NUMBERS, False, False, _labels("max_error")),
    Metric("r2", _NUMBERS, True, False, _labels("r2_score")),
)
