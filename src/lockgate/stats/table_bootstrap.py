"""Resampled confusion counts: every metric of predicted labels, however many rows there are.

Such a metric depends on a row only through (truth, candidate's label, champion's label). Drawing rows with replacement
is drawing the counts of those few combinations from a multinomial distribution, exactly; 2,000 resamples of a million
rows take milliseconds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


class Margins(NamedTuple):
    """Counts (resamples, classes): rows where label and truth agree, rows of that truth, rows given that label."""

    right: Floats
    true: Floats
    predicted: Floats


class Combinations(NamedTuple):
    """The combinations of codes that occur: truth (c,), one array of labels (c,) a model, and how often (c,)."""

    truth: Codes
    labels: Sequence[Codes]
    counts: Codes
    classes: int


def combinations(truth: Codes, labels: Sequence[Codes], classes: int) -> Combinations:
    """Count the rows of each combination. Codes are 0 .. classes - 1."""
    keys = truth.astype(np.int64)
    for codes in labels:
        keys = keys * classes + codes
    unique, counts = np.unique(keys, return_counts=True)
    parts: list[Codes] = []
    rest = unique
    for _ in labels:
        parts.append(rest % classes)
        rest = rest // classes
    return Combinations(rest, parts[::-1], counts.astype(np.int64), classes)


# `np.random` takes 3 MB and is loaded when it is first named: the metrics without a bootstrap never name it.
def resampled_counts(table: Combinations, *, resamples: int, rng: "np.random.Generator") -> Codes:
    """Counts (resamples, c) of the combinations when as many rows are drawn with replacement.

    >>> import numpy as np
    >>> table = combinations(np.array([0, 1, 1]), [np.array([0, 1, 0])], 2)
    >>> resampled_counts(table, resamples=4, rng=np.random.default_rng(0)).sum(axis=1).tolist()
    [3, 3, 3, 3]
    """
    rows = int(table.counts.sum())
    return rng.multinomial(rows, table.counts / rows, size=resamples).astype(np.int64)


def margins(table: Combinations, counts: Codes, model: int) -> Margins:
    """What label metrics need of each resample (row of `counts`), for one of the models."""
    labels = table.labels[model]
    of_truth = np.eye(table.classes)[table.truth]
    of_label = np.eye(table.classes)[labels]
    weights = counts.astype(np.float64)
    return Margins(
        right=weights @ (of_truth * (labels == table.truth)[:, None]),
        true=weights @ of_truth,
        predicted=weights @ of_label,
    )


def jackknife_counts(table: Combinations) -> Codes:
    """The counts (c, c) without one row of each combination."""
    return table.counts[None, :] - np.eye(len(table.counts), dtype=np.int64)


# -- the metrics; NaN where a resample does not define one ------------------------------------------------------------


def accuracy(m: Margins) -> Floats:
    return _ratio(m.right.sum(axis=1), m.true.sum(axis=1))


def balanced_accuracy(m: Margins) -> Floats:
    return _mean_where(_share(m.right, m.true), m.true > 0)


def matthews_corrcoef(m: Margins) -> Floats:
    rows = m.true.sum(axis=1)
    covariance = m.right.sum(axis=1) * rows - (m.true * m.predicted).sum(axis=1)
    spread = (rows**2 - (m.true**2).sum(axis=1)) * (rows**2 - (m.predicted**2).sum(axis=1))
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)


def precision(m: Margins) -> Floats:
    """Of class 1, as the others of this kind: the caller codes the positive class so."""
    return _share(m.right, m.predicted)[:, 1]


def recall(m: Margins) -> Floats:
    return np.where(m.true[:, 1] > 0, _share(m.right, m.true)[:, 1], np.nan)


def f1(m: Margins) -> Floats:
    return _f1(m)[:, 1]


def precision_macro(m: Margins) -> Floats:
    return _mean_where(_share(m.right, m.predicted), m.true + m.predicted > 0)


def recall_macro(m: Margins) -> Floats:
    return _mean_where(_share(m.right, m.true), m.true + m.predicted > 0)


def f1_macro(m: Margins) -> Floats:
    return _mean_where(_f1(m), m.true + m.predicted > 0)


def f1_weighted(m: Margins) -> Floats:
    return _ratio((_f1(m) * m.true).sum(axis=1), m.true.sum(axis=1))


LABEL_METRICS: Mapping[str, Callable[[Margins], Floats]] = {
    function.__name__: function
    for function in (
        accuracy,
        balanced_accuracy,
        matthews_corrcoef,
        precision,
        recall,
        f1,
        precision_macro,
        recall_macro,
        f1_macro,
        f1_weighted,
    )
}


def _f1(m: Margins) -> Floats:
    return _share(2 * m.right, m.true + m.predicted)


def _share(part: Floats, whole: Floats) -> Floats:
    """Zero where the whole is: scikit-learn's zero_division=0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _mean_where(values: Floats, included: npt.NDArray[np.bool_]) -> Floats:
    return _ratio((values * included).sum(axis=1), included.sum(axis=1).astype(np.float64))
