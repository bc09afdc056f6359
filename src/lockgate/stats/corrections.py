"""Adjusted p-values for many tests at once: reject those at or below the level you asked for.

References: Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6; Benjamini and
Hochberg (1995), Controlling the false discovery rate, JRSS B 57.
"""

from collections.abc import Sequence


def bonferroni(p: Sequence[float]) -> list[float]:
    """p times the number of tests: P(any false rejection) is at most the level, under any dependence.

    >>> bonferroni([0.01, 0.02, 0.5])
    [0.03, 0.06, 1.0]
    """
    return [min(value * len(p), 1.0) for value in p]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down: the promise of Bonferroni (P(any false rejection), any dependence) with more power.

    >>> holm([0.01, 0.02, 0.5])
    [0.03, 0.04, 0.5]
    """
    adjusted = [1.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(_ascending(p)):
        highest = max(highest, p[i] * (len(p) - rank))
        adjusted[i] = min(highest, 1.0)
    return adjusted


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's step-up: at most the level of the rejections are false, on average.

    Holds for independent and positively dependent tests. Where no test has an effect, it also bounds
    P(any false rejection) by the level.

        >>> benjamini_hochberg([0.01, 0.02, 0.5])
        [0.03, 0.03, 0.5]
    """
    adjusted = [1.0] * len(p)
    lowest = 1.0
    for i, rank in zip(reversed(_ascending(p)), range(len(p), 0, -1), strict=True):
        lowest = min(lowest, p[i] * len(p) / rank)
        adjusted[i] = max(lowest, p[i])  # rounding must not make a p-value smaller
    return adjusted


def _ascending(p: Sequence[float]) -> list[int]:
    """The places of the p-values, from the least on."""
    return sorted(range(len(p)), key=p.__getitem__)
