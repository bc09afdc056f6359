"""The area under the ROC curve of two scores on the same rows, with the standard error of its difference.

References: DeLong, DeLong and Clarke-Pearson (1988), Comparing the areas under two or more correlated receiver
operating characteristic curves, Biometrics 44; Sun and Xu (2014), Fast implementation of DeLong's algorithm, IEEE
Signal Processing Letters 21 (midranks: n log n in place of n^2).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lockgate.errors import InvalidInput

Floats = npt.NDArray[np.float64]


class AucDifference(NamedTuple):
    """`standard_error` is that of candidate - champion, the rows taken as a sample."""

    candidate: float
    champion: float
    standard_error: float

    @property
    def difference(self) -> float:
        return self.candidate - self.champion


def paired_auc(is_positive: npt.NDArray[np.bool_], candidate: Floats, champion: Floats) -> AucDifference:
    """Both areas and the standard error of their difference. Raises InvalidInput where the rows have one class.

    >>> import numpy as np
    >>> y = np.array([False, False, True, True])
    >>> paired_auc(y, np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.4, 0.1, 0.3, 0.2])).difference
    0.25
    """
    of_positives_a, of_negatives_a = placements(is_positive, candidate)
    of_positives_b, of_negatives_b = placements(is_positive, champion)
    variance = _variance_of_mean(of_positives_a - of_positives_b) + _variance_of_mean(of_negatives_a - of_negatives_b)
    return AucDifference(float(of_positives_a.mean()), float(of_positives_b.mean()), float(np.sqrt(variance)))


def placements(is_positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """For each positive, the share of negatives below it; for each negative, the share of positives above it.

    A tie counts one half. The mean of either is the area under the curve. Raises InvalidInput on one class.
    """
    from scipy.stats import rankdata

    positives, negatives = scores[is_positive], scores[~is_positive]
    m, n = len(positives), len(negatives)
    if m == 0 or n == 0:
        raise InvalidInput("the area under the ROC curve is not defined where all rows have one class.")
    together = rankdata(np.concatenate((positives, negatives)))
    of_positives = (together[:m] - rankdata(positives)) / n
    of_negatives = 1.0 - (together[m:] - rankdata(negatives)) / m
    return of_positives, of_negatives


def _variance_of_mean(values: Floats) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0
