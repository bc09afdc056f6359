"""Resampled means of some statistics of each row: enough for any metric that is a function of means.

Mean absolute error is one mean, the root mean squared error the root of one, R2 a function of three. Above 4,000 rows
they are first summed in that many random groups, and the groups are resampled: the variance of a mean is the same, and
the work no longer grows with the rows (a bootstrap of block sums; Kleiner et al. 2014, A scalable bootstrap for massive
data, JRSS B 76, has the general idea).
"""

import numpy as np
import numpy.typing as npt

from lockgate.stats.resampling import iter_counts

Floats = npt.NDArray[np.float64]
_MOST_GROUPS = 4_000


def resampled_means(statistics: Floats, *, resamples: int, rng: np.random.Generator) -> Floats:
    """Means (resamples, k) of row statistics (n, k), all k from the same resampled rows.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(400, 1))
    >>> spread = float(resampled_means(x, resamples=2000, rng=rng).std() * 20)
    >>> abs(spread / float(x.std()) - 1) < 0.1
    True
    """
    sums = _grouped(np.column_stack((statistics, np.ones(len(statistics)))), rng)
    totals = np.concatenate([counts.T.astype(np.float64) @ sums for counts in iter_counts(len(sums), resamples, rng)])
    means: Floats = totals[:, :-1] / totals[:, -1:]
    return means


def jackknife_means(statistics: Floats) -> Floats:
    """The means (n, k) without each row."""
    left: Floats = (statistics.sum(axis=0) - statistics) / max(len(statistics) - 1, 1)
    return left


def _grouped(statistics: Floats, rng: np.random.Generator) -> Floats:
    if len(statistics) <= _MOST_GROUPS:
        return statistics
    shuffled = statistics[rng.permutation(len(statistics))]
    starts = np.linspace(0, len(shuffled), _MOST_GROUPS, endpoint=False).astype(np.int64)
    groups: Floats = np.add.reduceat(shuffled, starts, axis=0)
    return groups
