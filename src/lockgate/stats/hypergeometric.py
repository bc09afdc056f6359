"""Are more of these rows marked than a fair draw from both samples would have marked? Fisher's exact test, one side.

Given how many of all rows are marked, the number among the current ones follows the hypergeometric distribution where
both samples come from one population. Reference: Fisher (1935), The logic of inductive inference, J. R. Stat. Soc. 98.
"""

import math
import sys
from collections.abc import Iterable

_EPS = sys.float_info.epsilon


def upper_tail(marked_drawn: int, *, drawn: int, marked: int, total: int) -> float:
    """P(X >= `marked_drawn`) where `drawn` of `total` rows are taken and `marked` of the total are marked.

    >>> round(upper_tail(2, drawn=3, marked=4, total=10), 6)
    0.333333
    """
    assert 0 <= marked <= total and 0 <= drawn <= total
    least, most = max(0, drawn - (total - marked)), min(drawn, marked)
    if marked_drawn <= least:
        return 1.0
    if marked_drawn > most:
        return 0.0
    # Terms fall on both sides of the most probable number, so the sums may end where they add nothing any more.
    peak = max(marked_drawn, (drawn + 1) * (marked + 1) // (total + 2))

    def ratio(x: int) -> float:
        """P(X = x + 1) / P(X = x)."""
        return (marked - x) * (drawn - x) / ((x + 1) * (total - marked - drawn + x + 1))

    above = _sum_of_products(ratio(x) for x in range(peak, most))
    below = _sum_of_products(1.0 / ratio(x) for x in range(peak - 1, marked_drawn - 1, -1))
    log_peak = _log_choose(marked, peak) + _log_choose(total - marked, drawn - peak) - _log_choose(total, drawn)
    return min(1.0, math.exp(log_peak) * (1.0 + above + below))


def _sum_of_products(ratios: Iterable[float]) -> float:
    """r1 + r1 r2 + r1 r2 r3 + ..., for ratios that fall and end below one."""
    total, term = 0.0, 1.0
    for ratio in ratios:
        term *= ratio
        total += term
        if term < total * _EPS:
            break
    return total


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
