"""Any metric of one or two models on the same rows, with an interval for it or for its difference.

What is resampled is rows, with both models' answers on them, so that what is hard about a row cancels. By kind of
metric: labels from a multinomial table, means from row statistics, rankings from counts on sorted scores; above
20,000 rows DeLong's normal limit stands in for the resampled area under the ROC curve.

Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap; Koehn (2004), Statistical significance tests
for machine translation evaluation, EMNLP (the paired bootstrap for any metric).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lockgate.entities import Scalar
from lockgate.errors import InvalidInput
from lockgate.project import Task
from lockgate.stats.delong import paired_auc, placements
from lockgate.stats.intervals import Bounds, bca_bounds, percentile_bounds
from lockgate.stats.mean_bootstrap import jackknife_means, resampled_means
from lockgate.stats.metrics import BINARY, Array, compute_metric, find_metric
from lockgate.stats.ranking_bootstrap import Weighted, weighted_auc, weighted_average_precision, weighted_median
from lockgate.stats.resampling import iter_counts
from lockgate.stats.table_bootstrap import LABEL_METRICS, combinations, jackknife_counts, margins, resampled_counts

Floats = npt.NDArray[np.float64]
_MOST_ROWS_RANKED = 20_000
_EPS = float(np.finfo(np.float64).eps)


class Answers(NamedTuple):
    """One model's answers: the label or number of each row, and its scores where it gives them (n,) or (n, k)."""

    predictions: Array
    scores: Array | None


@dataclass(frozen=True, slots=True)
class Rows:
    """The truth of some rows and what the metrics need to know of the task."""

    task: Task
    truth: Array
    classes: Sequence[Scalar] = ()
    positive: Scalar = None


class Estimate(NamedTuple):
    """A value with one-sided bounds below and above it at the confidence asked for; `method` names their origin."""

    value: float
    low: float
    high: float
    standard_error: float
    method: str


class _Resampled(NamedTuple):
    """Values (resamples, models), and each row's influence (n, models) where there is one."""

    values: Floats
    influence: Floats | None


def metric_estimate(
    name: str, rows: Rows, answers: Answers, *, confidence: float, resamples: int, rng: np.random.Generator
) -> Estimate:
    """The metric of one model. Raises InvalidInput where the rows do not define it, or no bootstrap fits it."""
    value = _compute(name, rows, answers)
    drawn = _resample(name, rows, [answers], resamples, rng)
    influence = None if drawn.influence is None else drawn.influence[:, 0]
    return _estimate(value, drawn.values[:, 0], influence, confidence)


def metric_difference(
    name: str,
    rows: Rows,
    candidate: Answers,
    champion: Answers,
    *,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> Estimate:
    """The candidate's metric - the champion's. Raises InvalidInput where the rows do not define it.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random(500) < 0.5
    >>> good, bad = truth ^ (rng.random(500) < 0.1), truth ^ (rng.random(500) < 0.3)
    >>> rows = Rows("binary_classification", truth, (False, True), True)
    >>> gain = metric_difference("accuracy", rows, Answers(good, None), Answers(bad, None),
    ...                          confidence=0.95, resamples=2000, rng=rng)
    >>> gain.low > 0.1, gain.method
    (True, 'bootstrap (BCa)')
    """
    value = _compute(name, rows, candidate) - _compute(name, rows, champion)
    if name == "roc_auc" and rows.task == BINARY and len(rows.truth) > _MOST_ROWS_RANKED:
        return _by_delong(rows, candidate, champion, confidence)
    drawn = _resample(name, rows, [candidate, champion], resamples, rng)
    influence = None if drawn.influence is None else drawn.influence[:, 0] - drawn.influence[:, 1]
    return _estimate(value, drawn.values[:, 0] - drawn.values[:, 1], influence, confidence)


def _compute(name: str, rows: Rows, answers: Answers) -> float:
    return compute_metric(
        name,
        rows.task,
        rows.truth,
        answers.predictions,
        answers.scores,
        classes=rows.classes,
        positive=rows.positive,
    )


def _estimate(value: float, resampled: Floats, influence: Floats | None, confidence: float) -> Estimate:
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < max(0.5 * len(resampled), 50):
        raise InvalidInput("too few rows: most resamples do not define the metric.")
    bounds: Bounds
    if influence is None:
        bounds, method = percentile_bounds(defined, confidence=confidence), "bootstrap (percentile)"
    else:
        bounds = bca_bounds(defined, estimate=value, influence=influence, confidence=confidence)
        method = "bootstrap (BCa)"
    return Estimate(value, bounds.low, bounds.high, float(defined.std()), method)


def _by_delong(rows: Rows, candidate: Answers, champion: Answers, confidence: float) -> Estimate:
    assert candidate.scores is not None and champion.scores is not None
    found = paired_auc(rows.truth == rows.positive, candidate.scores, champion.scores)
    half = NormalDist().inv_cdf(confidence) * found.standard_error
    return Estimate(found.difference, found.difference - half, found.difference + half, found.standard_error, "DeLong")


# -- which resampling serves which metric -----------------------------------------------------------------------------


def _resample(name: str, rows: Rows, models: Sequence[Answers], resamples: int, rng: np.random.Generator) -> _Resampled:
    find_metric(name, rows.task)
    if name in LABEL_METRICS:
        return _resample_labels(name, rows, models, resamples, rng)
    if name in _MEANS:
        return _resample_means(name, rows, models, resamples, rng)
    weighted = [_weighted(name, rows, answers) for answers in models]
    blocks = [
        np.column_stack([_mean_of_defined([one(counts) for one in ones]) for ones in weighted])
        for counts in iter_counts(len(rows.truth), resamples, rng)
    ]
    influence = None
    if name == "roc_auc" and rows.task == BINARY:
        influence = np.column_stack([_auc_influence(rows.truth == rows.positive, answers) for answers in models])
    return _Resampled(np.concatenate(blocks), influence)


def _resample_labels(
    name: str, rows: Rows, models: Sequence[Answers], resamples: int, rng: np.random.Generator
) -> _Resampled:
    metric = LABEL_METRICS[name]
    if rows.task == BINARY:
        codes = [
            (labels == rows.positive).astype(np.int64) for labels in (rows.truth, *(m.predictions for m in models))
        ]
        classes = 2
    else:
        both, inverse = np.unique(np.concatenate((rows.truth, *(m.predictions for m in models))), return_inverse=True)
        codes = np.split(inverse.astype(np.int64), len(models) + 1)
        classes = len(both)
    table = combinations(codes[0], codes[1:], classes)
    counts = resampled_counts(table, resamples=resamples, rng=rng)
    values = np.column_stack([metric(margins(table, counts, i)) for i in range(len(models))])
    if len(table.counts) > 2000:  # a jackknife of so many combinations costs more than it corrects
        return _Resampled(values, None)
    without = jackknife_counts(table)
    left = np.column_stack([metric(margins(table, without, i)) for i in range(len(models))])
    influence = np.repeat(_centered(left, table.counts), table.counts, axis=0)
    return _Resampled(values, influence)


def _centered(left: Floats, counts: npt.NDArray[np.int64]) -> Floats:
    left = np.nan_to_num(left)
    mean = (left * counts[:, None]).sum(axis=0) / counts.sum()
    centered: Floats = mean - left
    return centered


def _resample_means(
    name: str, rows: Rows, models: Sequence[Answers], resamples: int, rng: np.random.Generator
) -> _Resampled:
    statistics, combine = _MEANS[name]
    columns = [statistics(rows, answers) for answers in models]
    width = columns[0].shape[1]
    together = np.column_stack(columns)
    means = resampled_means(together, resamples=resamples, rng=rng)
    left = jackknife_means(together)

    def each(table: Floats) -> Floats:
        return np.column_stack([combine(table[:, i * width : (i + 1) * width]) for i in range(len(models))])

    jackknife = each(left)
    return _Resampled(each(means), np.asarray(jackknife.mean(axis=0) - jackknife))


def _weighted(name: str, rows: Rows, answers: Answers) -> list[Weighted]:
    """One function, or one a class: the metric is the mean of those that a resample defines."""
    if name == "median_absolute_error":
        return [weighted_median(np.abs(rows.truth - answers.predictions))]
    make = {"roc_auc": weighted_auc, "average_precision": weighted_average_precision}.get(name)
    if make is None:
        raise InvalidInput(f"{name} has no bootstrap interval.", hint="put a bound on it (min or max), or compare mae")
    assert answers.scores is not None
    if answers.scores.ndim == 1:
        return [make(rows.truth == rows.positive, answers.scores)]
    present = [k for k, value in enumerate(rows.classes) if 0 < (rows.truth == value).sum() < len(rows.truth)]
    return [make(rows.truth == rows.classes[k], answers.scores[:, k]) for k in present]


def _mean_of_defined(values: Sequence[Floats]) -> Floats:
    table = np.column_stack(values)
    defined = ~np.isnan(table)
    count = defined.sum(axis=1)
    return np.where(count > 0, np.nan_to_num(table).sum(axis=1) / np.maximum(count, 1), np.nan)


def _auc_influence(is_positive: npt.NDArray[np.bool_], answers: Answers) -> Floats:
    assert answers.scores is not None
    of_positives, of_negatives = placements(is_positive, answers.scores)
    influence = np.empty(len(is_positive))
    influence[is_positive] = (of_positives - of_positives.mean()) / len(of_positives)
    influence[~is_positive] = (of_negatives - of_negatives.mean()) / len(of_negatives)
    return influence


# -- metrics that are functions of means ------------------------------------------------------------------------------


def _absolute(rows: Rows, answers: Answers) -> Floats:
    return np.asarray(np.abs(rows.truth - answers.predictions), dtype=np.float64)[:, None]


def _squared(rows: Rows, answers: Answers) -> Floats:
    return np.asarray((rows.truth - answers.predictions) ** 2, dtype=np.float64)[:, None]


def _relative(rows: Rows, answers: Answers) -> Floats:
    return _absolute(rows, answers) / np.maximum(np.abs(rows.truth), _EPS)[:, None]


def _variance_parts(rows: Rows, answers: Answers) -> Floats:
    # Around the mean of these rows: squares of large numbers lose digits.
    centered = (rows.truth - rows.truth.mean()).astype(np.float64)
    return np.column_stack((_squared(rows, answers), centered, centered**2))


def _one_hot(rows: Rows) -> Floats:
    return np.asarray(rows.truth[:, None] == np.asarray(rows.classes)[None, :], dtype=np.float64)


def _log_losses(rows: Rows, answers: Answers) -> Floats:
    assert answers.scores is not None
    if answers.scores.ndim == 1:
        truth = np.where(rows.truth == rows.positive, answers.scores, 1.0 - answers.scores)
    else:
        truth = (answers.scores * _one_hot(rows)).sum(axis=1)
    return np.asarray(-np.log(np.clip(truth, _EPS, 1.0)))[:, None]


def _brier_losses(rows: Rows, answers: Answers) -> Floats:
    assert answers.scores is not None
    if answers.scores.ndim == 1:
        return np.asarray((answers.scores - (rows.truth == rows.positive)) ** 2, dtype=np.float64)[:, None]
    return np.asarray(((answers.scores - _one_hot(rows)) ** 2).sum(axis=1), dtype=np.float64)[:, None]


def _mean(means: Floats) -> Floats:
    return means[:, 0]


def _root(means: Floats) -> Floats:
    return np.sqrt(means[:, 0])


def _explained(means: Floats) -> Floats:
    variance = means[:, 2] - means[:, 1] ** 2
    return np.where(variance > 0, 1.0 - means[:, 0] / np.where(variance > 0, variance, 1.0), np.nan)


_MEANS: dict[str, tuple[Callable[[Rows, Answers], Floats], Callable[[Floats], Floats]]] = {
    "mae": (_absolute, _mean),
    "mse": (_squared, _mean),
    "rmse": (_squared, _root),
    "mape": (_relative, _mean),
    "r2": (_variance_parts, _explained),
    "log_loss": (_log_losses, _mean),
    "brier": (_brier_losses, _mean),
}
