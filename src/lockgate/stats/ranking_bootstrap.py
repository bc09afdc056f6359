"""Resampled areas under the ROC and the precision-recall curve: rows are sorted once, resamples are counts.

References: Hanley and McNeil (1982), Radiology 143 (the area as P(positive ranks above negative)); Davis and Goadrich
(2006), The relationship between precision-recall and ROC curves, ICML.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lockgate.stats.resampling import Counts

Floats = npt.NDArray[np.float64]
Weighted = Callable[[Counts], Floats]  # counts (rows, b) -> the metric of each of b resamples, NaN where undefined


def weighted_auc(is_positive: npt.NDArray[np.bool_], scores: Floats) -> Weighted:
    """The area under the ROC curve as a function of how often each row was drawn; ties count one half.

    >>> import numpy as np
    >>> auc = weighted_auc(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> auc(np.ones((4, 1), dtype=np.int32)).tolist()
    [0.75]
    """
    positives, negatives = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    below = np.searchsorted(scores[negatives], scores[positives], side="left")
    not_above = np.searchsorted(scores[negatives], scores[positives], side="right")
    tied = bool((below != not_above).any())

    def auc(counts: Counts) -> Floats:
        running = np.zeros((len(negatives) + 1, counts.shape[1]), dtype=np.int32)
        np.cumsum(counts[negatives], axis=0, out=running[1:])
        drawn = counts[positives]
        wins = np.einsum("ij,ij->j", drawn, running[below], dtype=np.float64, casting="safe")
        if tied:
            wins = (wins + np.einsum("ij,ij->j", drawn, running[not_above], dtype=np.float64, casting="safe")) / 2
        pairs = drawn.sum(axis=0, dtype=np.float64) * running[-1]
        return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), np.nan)

    return auc


def weighted_average_precision(is_positive: npt.NDArray[np.bool_], scores: Floats) -> Weighted:
    """Average precision as a function of how often each row was drawn; rows of one score count together.

    >>> import numpy as np
    >>> ap = weighted_average_precision(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> ap(np.ones((4, 1), dtype=np.int32)).round(4).tolist()
    [0.8333]
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    truth = is_positive[order]

    def average_precision(counts: Counts) -> Floats:
        drawn = counts[order]
        above = np.cumsum(drawn, axis=0)[ends]
        drawn *= truth[:, None]
        right = np.cumsum(drawn, axis=0)[ends]
        precision = right / np.maximum(above, 1)
        gained = np.diff(right, axis=0, prepend=0)
        positives = right[-1]
        area = np.einsum("ij,ij->j", gained, precision, dtype=np.float64)
        return np.where(positives > 0, area / np.maximum(positives, 1), np.nan)

    return average_precision


def weighted_median(values: Floats) -> Weighted:
    """The median as a function of how often each row was drawn.

    >>> import numpy as np
    >>> weighted_median(np.array([3.0, 1.0, 2.0, 9.0]))(np.ones((4, 1), dtype=np.int32)).tolist()
    [2.5]
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]

    def median(counts: Counts) -> Floats:
        running = np.cumsum(counts[order], axis=0)
        rows = running[-1]
        lower = (running > (rows - 1) // 2).argmax(axis=0)
        upper = (running > rows // 2).argmax(axis=0)
        middle: Floats = (ascending[lower] + ascending[upper]) / 2
        return middle

    return median
