"""The metrics that gates and monitors speak of: scikit-learn's names and scikit-learn's values.

Computed with what their bootstraps compute (`table_bootstrap`, `ranking_bootstrap`), so that a value and its interval
are of one formula, and without scikit-learn, whose import takes 130 MB and more than a second.

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
from lockgate.stats.ranking_bootstrap import Weighted, weighted_auc, weighted_average_precision
from lockgate.stats.table_bootstrap import LABEL_METRICS, Margins

Floats = npt.NDArray[np.float64]
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
    numbers = (y_true, y_pred) if task == REGRESSION else (scores,) if metric.needs_scores else ()
    if not all(np.isfinite(np.asarray(values, dtype=np.float64)).all() for values in numbers):
        raise InvalidInput(f"{name} is not defined where a number is NaN or infinite.")
    return float(metric.compute(y_true, y_pred, scores, classes, positive))


def default_metrics(task: Task) -> tuple[str, ...]:
    """What is reported without being asked for."""
    return {
        BINARY: ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "log_loss", "brier"),
        MULTICLASS: ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "log_loss"),
        REGRESSION: ("mae", "rmse", "r2", "median_absolute_error"),
    }[task]


def _labels(name: str) -> Compute:
    """Metrics of labels that treat all classes alike."""

    def compute(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
        return float(LABEL_METRICS[name](_margins(y, pred))[0])

    return compute


def _positive(name: str) -> Compute:
    """Precision, recall and their kin: of the positive class, or the mean over all classes where none is named."""

    def compute(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
        if positive is None:
            return float(LABEL_METRICS[f"{name}_macro"](_margins(y, pred))[0])
        found = LABEL_METRICS[name](_counted((y == positive).astype(np.int64), (pred == positive).astype(np.int64), 2))
        return float(np.nan_to_num(found[0]))  # zero where there is no positive row, like scikit-learn's zero_division

    return compute


def _ranking(weighted: Callable[[npt.NDArray[np.bool_], Floats], Weighted]) -> Compute:
    """Metrics of scores: of the positive class on binary labels, one class against the rest on more."""

    def one(is_positive: npt.NDArray[np.bool_], scores: Array) -> float:
        once = np.ones((len(scores), 1), dtype=np.int32)
        return float(weighted(is_positive, np.asarray(scores, dtype=np.float64))(once)[0])

    def compute(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
        assert scores is not None
        if scores.ndim == 1:
            return one(y == positive, scores)
        one_hot = y[:, None] == np.asarray(classes)[None, :]
        present = one_hot.any(axis=0) & ~one_hot.all(axis=0)
        return float(np.mean([one(one_hot[:, k], scores[:, k]) for k in np.flatnonzero(present)]))

    return compute


def _errors(summary: Callable[[Floats], Any]) -> Compute:  # a NumPy number
    """Metrics of predicted - true."""

    def compute(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
        return float(summary(pred.astype(np.float64) - y.astype(np.float64)))

    return compute


def _relative(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
    truth = y.astype(np.float64)
    return float(np.mean(np.abs(pred - truth) / np.maximum(np.abs(truth), np.finfo(np.float64).eps)))


def _explained(y: Array, pred: Array, scores: Array | None, classes: Sequence[Scalar], positive: Scalar) -> float:
    """One where constant rows are met exactly and zero where they are not, like scikit-learn's."""
    truth = y.astype(np.float64)
    if len(truth) < 2:
        raise InvalidInput("r2 is not defined on one row.")
    left, spread = float(((truth - pred) ** 2).sum()), float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - left / spread if spread else float(left == 0.0)


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


def _margins(y: Array, pred: Array) -> Margins:
    if (y.dtype.kind in "US") != (pred.dtype.kind in "US") and "O" not in (y.dtype.kind, pred.dtype.kind):
        raise InvalidInput(f"labels of type {pred.dtype} cannot be compared with a truth of type {y.dtype}.")
    try:
        found, codes = np.unique(np.concatenate((y, pred)), return_inverse=True)
    except TypeError as error:
        raise InvalidInput(f"labels of several types cannot be compared: {error}.") from error
    return _counted(codes[: len(y)], codes[len(y) :], len(found))


def _counted(truth: npt.NDArray[np.int64], label: npt.NDArray[np.int64], classes: int) -> Margins:
    right, true, predicted = (
        np.bincount(codes, minlength=classes)[None, :].astype(np.float64)
        for codes in (truth[truth == label], truth, label)
    )
    return Margins(right, true, predicted)


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
    Metric("accuracy", _CLASSES, True, False, _labels("accuracy")),
    Metric("balanced_accuracy", _CLASSES, True, False, _labels("balanced_accuracy")),
    Metric("matthews_corrcoef", _CLASSES, True, False, _labels("matthews_corrcoef")),
    Metric("precision", _BINARY, True, False, _positive("precision")),
    Metric("recall", _BINARY, True, False, _positive("recall")),
    Metric("f1", _BINARY, True, False, _positive("f1")),
    Metric("precision_macro", _MULTI, True, False, _labels("precision_macro")),
    Metric("recall_macro", _MULTI, True, False, _labels("recall_macro")),
    Metric("f1_macro", _MULTI, True, False, _labels("f1_macro")),
    Metric("f1_weighted", _MULTI, True, False, _labels("f1_weighted")),
    Metric("roc_auc", _CLASSES, True, True, _ranking(weighted_auc)),
    Metric("average_precision", _CLASSES, True, True, _ranking(weighted_average_precision)),
    Metric("log_loss", _CLASSES, False, True, _log_loss),
    Metric("brier", _CLASSES, False, True, _brier),
    Metric("mae", _NUMBERS, False, False, _errors(lambda errors: np.abs(errors).mean())),
    Metric("mse", _NUMBERS, False, False, _errors(lambda errors: (errors**2).mean())),
    Metric("rmse", _NUMBERS, False, False, _errors(lambda errors: np.sqrt((errors**2).mean()))),
    Metric("mape", _NUMBERS, False, False, _relative),
    Metric("median_absolute_error", _NUMBERS, False, False, _errors(lambda errors: np.median(np.abs(errors)))),
    Metric("max_error", _NUMBERS, False, False, _errors(lambda errors: np.abs(errors).max())),
    Metric("r2", _NUMBERS, True, False, _explained),
)
