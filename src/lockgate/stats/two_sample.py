"""Do two samples come from one distribution? Tests on counts in common bins, both samples with their own noise.

The reference is a sample like the current rows. A test that takes it as exact alarms on its noise: .20 of null runs
with 2 categories, .98 with 50.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from lockgate.errors import InvalidInput
from lockgate.stats.tails import chi_square_tail, kolmogorov_tail

Counts = Sequence[float]

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
    reference, current = checked_counts(reference_counts, current_counts)
    n, m = sum(reference), sum(current)
    gap = max(abs(past / n - now / m) for past, now in zip(accumulate(reference), accumulate(current), strict=True))
    return TestResult(gap, kolmogorov_tail(math.sqrt(n * m / (n + m)) * gap))


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
    pairs = _pooled(*checked_counts(reference_counts, current_counts))
    if len(pairs) < 2:
        return TestResult(0.0, 1.0)
    n, m = sum(past for past, _ in pairs), sum(now for _, now in pairs)
    past_weight, now_weight = math.sqrt(m / n), math.sqrt(n / m)
    statistic = math.fsum((past_weight * past - now_weight * now) ** 2 / (past + now) for past, now in pairs)
    return TestResult(statistic, chi_square_tail(statistic, len(pairs) - 1))


def checked_counts(reference_counts: Counts, current_counts: Counts) -> tuple[list[float], list[float]]:
    """Both as floats. Raises InvalidInput where they cannot be compared."""
    reference, current = [float(count) for count in reference_counts], [float(count) for count in current_counts]
    if len(reference) != len(current):
        raise InvalidInput(f"counts of {len(reference)} and {len(current)} bins cannot be compared.")
    if sum(reference) <= 0 or sum(current) <= 0:
        raise InvalidInput("counts without any rows cannot be compared.")
    return reference, current


def _pooled(reference: list[float], current: list[float]) -> list[tuple[float, float]]:
    """The categories by falling size, with those that expect too few rows taken together at the end."""
    smaller, rows = min(sum(reference), sum(current)), sum(reference) + sum(current)
    pairs = sorted(zip(reference, current, strict=True), key=sum, reverse=True)
    expected = [sum(pair) * smaller / rows for pair in pairs]
    kept = sum(rows >= _LEAST_EXPECTED for rows in expected)
    if sum(expected[kept:]) < _LEAST_EXPECTED and kept < len(expected):
        kept = max(kept - 1, 0)  # the rest is too small to stand alone: the smallest kept category joins it
    rest = (sum(past for past, _ in pairs[kept:]), sum(now for _, now in pairs[kept:]))
    return [*pairs[:kept], rest] if sum(rest) else pairs[:kept]
