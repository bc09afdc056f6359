"""From resampled values of a statistic to an interval: percentile, or bias-corrected and accelerated (BCa).

Both ends are one-sided bounds at `confidence`: `low` alone is what non-inferiority asks. At confidence c the pair is a
two-sided interval at 2c - 1.

Reference: Efron (1987), Better bootstrap confidence intervals, JASA 82; Efron and Tibshirani (1993), An Introduction to
the Bootstrap, chapter 14.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_NORMAL = NormalDist()
_EDGE = 1e-9


class Bounds(NamedTuple):
    low: float
    high: float


def percentile_bounds(resampled: Floats, *, confidence: float) -> Bounds:
    """Quantiles of the resampled values. Resamples that do not define the statistic (NaN) are left out.

    >>> import numpy as np
    >>> percentile_bounds(np.arange(101.0), confidence=0.75)
    Bounds(low=25.0, high=75.0)
    """
    low, high = np.nanquantile(resampled, (1.0 - confidence, confidence))
    return Bounds(float(low), float(high))


def bca_bounds(resampled: Floats, *, estimate: float, influence: Floats, confidence: float) -> Bounds:
    """Quantiles shifted for bias and skewness; second-order accurate for smooth statistics.

    `influence` is each row's first-order effect on the statistic, up to a common factor (jackknife values or an
    analytic influence function).

        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.exponential(size=60)
        >>> means = x[rng.integers(0, 60, (4000, 60))].mean(axis=1)
        >>> bca = bca_bounds(means, estimate=float(x.mean()), influence=x - x.mean(), confidence=0.95)
        >>> plain = percentile_bounds(means, confidence=0.95)
        >>> bca.low > plain.low and bca.high > plain.high
        True
    """
    values = resampled[~np.isnan(resampled)]
    spread = float((influence**2).sum()) ** 1.5
    if len(values) == 0 or spread == 0.0 or float(np.ptp(values)) == 0.0:
        return percentile_bounds(resampled, confidence=confidence)
    # Ties with the estimate count one half: statistics of counts take few distinct values.
    below = float((values < estimate).mean() + 0.5 * (values == estimate).mean())
    bias = _NORMAL.inv_cdf(min(max(below, _EDGE), 1 - _EDGE))
    acceleration = float((influence**3).sum()) / (6.0 * spread)

    def level(z: float) -> float:
        shifted = bias + z
        return _NORMAL.cdf(bias + shifted / (1.0 - acceleration * shifted))

    z = _NORMAL.inv_cdf(confidence)
    low, high = np.quantile(values, (level(-z), level(z)))
    return Bounds(float(low), float(high))
