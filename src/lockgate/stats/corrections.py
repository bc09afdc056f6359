"""Adjusted p-values for many tests at once: reject those at or below the level you asked for.

References: Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6; Benjamini and
Hochberg (1995), Controlling the false discovery rate, JRSS B 57.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def bonferroni(p: Sequence[float] | Floats) -> Floats:
    """p times the number of tests: P(any false rejection) is at most the level, under any dependence.

    >>> bonferroni([0.01, 0.02, 0.5]).tolist()
    [0.03, 0.06, 1.0]
    """
    values = np.asarray(p, dtype=np.float64)
    return np.minimum(values * len(values), 1.0)


def holm(p: Sequence[float] | Floats) -> Floats:
    """Holm's step-down: the promise of Bonferroni (P(any false rejection), any dependence) with more power.

    >>> holm([0.01, 0.02, 0.5]).tolist()
    [0.03, 0.04, 0.5]
    """
    values = np.asarray(p, dtype=np.float64)
    n = len(values)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(n, 0, -1))
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(stepped, 1.0)
    return np.maximum(adjusted, values)  # rounding must not make a p-value smaller


def benjamini_hochberg(p: Sequence[float] | Floats) -> Floats:
    """Benjamini and Hochberg's step-up: at most the level of the rejections are false, on average.

    Holds for independent and positively dependent tests. Where no test has an effect, it also bounds
    P(any false rejection) by the level.

        >>> benjamini_hochberg([0.01, 0.02, 0.5]).tolist()
        [0.03, 0.03, 0.5]
    """
    values = np.asarray(p, dtype=np.float64)
    n = len(values)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * n / np.arange(1, n + 1)
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0)
    return np.maximum(adjusted, values)  # rounding must not make a p-value smaller
