"""Are more of these rows marked than a fair draw from both samples would have marked? Fisher's exact test, one side.

Given how many of all rows are marked, the number among the current ones follows the hypergeometric distribution where
both samples come from one population. Reference: Fisher (1935), The logic of inductive inference, J. R. Stat. Soc. 98.
"""

import math

import numpy as np


def upper_tail(marked_drawn: int, *, drawn: int, marked: int, total: int) -> float:
    """P(X >= `marked_drawn`) where `drawn` of `total` rows are taken and `marked` of the total are marked.

    >>> round(upper_tail(2, drawn=3, marked=4, total=10), 6)
    0.333333
    """
    from scipy.special import gammaln  # not scipy.stats, which takes 45 MB to import

    assert 0 <= marked <= total and 0 <= drawn <= total
    least, most = max(0, drawn - (total - marked)), min(drawn, marked)
    if marked_drawn <= least:
        return 1.0
    if marked_drawn > most:
        return 0.0
    x = np.arange(marked_drawn, most + 1)

    def log_choose(n: int, k: np.ndarray | int) -> np.ndarray:
        chosen: np.ndarray = gammaln(n + 1) - gammaln(np.asarray(k) + 1) - gammaln(n - np.asarray(k) + 1)
        return chosen

    logs = log_choose(marked, x) + log_choose(total - marked, drawn - x) - log_choose(total, drawn)
    peak = float(logs.max())
    return min(1.0, math.exp(peak) * float(np.exp(logs - peak).sum()))
