"""Do two samples come from one distribution? Tests on counts in common bins, both samples with their own noise.

The reference is a sample like the current rows. A test that takes it as exact alarms on its noise: .20 of null runs
with 2 categories, .98 with 50.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from lockgate.errors import InvalidInput

Counts = Sequence[int] | npt.NDArray[np.int64] | npt.NDArray[np.float64]

# Cochran's rule: below five expected the chi-square distribution is a poor stand-in, worst in the far tail we use.
_LEAST_EXPECTED = 5.0


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test statistic and the probability of one at least as large where there is no difference."""

    __test__: ClassVar[bool] = False  # not a test case of pytest

    statistic: float
    p_value: float


def ks_binned(reference_counts: Counts, current_counts: Counts) -> TestResult:
    """Kolmogorov-Smirnov on counts in common, ordered bins: the largest gap between the distribution functions.

    Binning only lowers the statistic, so the p-value stays on the safe side; with bins that hold a hundredth of the
    rows each, little power is lost. The p-value is Kolmogorov's limit, whose tail bounds the exact one (Wei and Dudley
    2012, Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities). Raises InvalidInput where a sample has no rows.

        >>> ks_binned([50, 30, 20], [50, 30, 20]).p_value
        1.0
        >>> result = ks_binned([500, 300, 200], [350, 300, 350])
        >>> round(result.statistic, 3), result.p_value < 1e-9
        (0.15, True)
    """
    from scipy.special import kolmogorov

    reference, current = checked_counts(reference_counts, current_counts)
    n, m = reference.sum(), current.sum()
    gap = float(np.abs(np.cumsum(reference) / n - np.cumsum(current) / m).max())
    return TestResult(gap, float(kolmogorov(np.sqrt(n * m / (n + m)) * gap)))


def chi_square(reference_counts: Counts, current_counts: Counts) -> TestResult:
    """Chi-square two-sample test on counts in common categories, with one degree of freedom less than categories.

    Categories that expect fewer than five rows in the smaller sample are taken together first (which ones follows from
    the totals alone, so the level holds). Reference: Press, Teukolsky, Vetterling, Flannery, Numerical Recipes 14.3.
    Raises InvalidInput where a sample has no rows.

        >>> round(chi_square([500, 300, 200], [480, 310, 210]).p_value, 3)
        0.665
        >>> chi_square([500, 300, 200], [350, 300, 350]).p_value < 1e-12
        True
    """
    from scipy.special import chdtrc

    reference, current = _pooled(*checked_counts(reference_counts, current_counts))
    if len(reference) < 2:
        return TestResult(0.0, 1.0)
    n, m = reference.sum(), current.sum()
    terms = (np.sqrt(m / n) * reference - np.sqrt(n / m) * current) ** 2 / (reference + current)
    statistic = float(terms.sum())
    return TestResult(statistic, float(chdtrc(len(reference) - 1, statistic)))


def checked_counts(
    reference_counts: Counts, current_counts: Counts
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both as floats. Raises InvalidInput where they cannot be compared."""
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    if reference.shape != current.shape or reference.ndim != 1:
        raise InvalidInput(f"counts of {reference.shape} and {current.shape} bins cannot be compared.")
    if reference.sum() <= 0 or current.sum() <= 0:
        raise InvalidInput("counts without any rows cannot be compared.")
    return reference, current


def _pooled(
    reference: npt.NDArray[np.float64], current: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    both = reference + current
    share = min(reference.sum(), current.sum()) / both.sum()
    order = np.argsort(-both, kind="stable")
    expected = both[order] * share
    kept = int((expected >= _LEAST_EXPECTED).sum())
    if expected[kept:].sum() < _LEAST_EXPECTED and kept < len(expected):
        kept = max(kept - 1, 0)  # the rest is too small to stand alone: the smallest kept category joins it
    heads = (reference[order[:kept]], current[order[:kept]])
    rest = (reference[order[kept:]].sum(), current[order[kept:]].sum())
    if rest[0] + rest[1] == 0:
        return heads
    return np.append(heads[0], rest[0]), np.append(heads[1], rest[1])
