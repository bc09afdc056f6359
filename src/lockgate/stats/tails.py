"""The upper tails that two-sample tests refer to, without a numerical library.

A look of the monitor runs beside what it watches and must stay small: SciPy's special functions alone take 20 MB. Both
sums below are exact and have terms of one sign or of falling size; they agree with SciPy to twelve digits
(tests/unit/stats/test_tails.py).
"""

import math

# Two series for one distribution: on its own side of the crossing each is exact after four terms.
_CROSSING = 1.0
_TERMS = 4
# The gap of a smaller value is surely larger: the other tail is below 1e-50.
_SURELY = 0.1


def kolmogorov_tail(x: float) -> float:
    """P(K > x) of Kolmogorov's distribution, the limit of sqrt(n) times the largest gap of two distribution functions.

    Reference: Marsaglia, Tsang and Wang (2003), Evaluating Kolmogorov's distribution, J. Stat. Software 8(18).

        >>> round(kolmogorov_tail(1.358), 3)
        0.05
    """
    if x < _SURELY:
        return 1.0
    if x < _CROSSING:
        odd = (math.exp(-(((2 * k - 1) * math.pi / x) ** 2) / 8.0) for k in range(1, _TERMS + 1))
        return 1.0 - math.sqrt(2.0 * math.pi) / x * math.fsum(odd)
    return 2.0 * math.fsum((-1) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, _TERMS + 1))


def chi_square_tail(x: float, degrees: int) -> float:
    """P(X > x) of a chi-square variable with that many degrees of freedom, as a finite sum.

    Reference: Abramowitz and Stegun (1964), 26.4.4 and 26.4.5.

        >>> round(chi_square_tail(3.841459, 1), 6), round(chi_square_tail(5.991465, 2), 6)
        (0.05, 0.05)
    """
    if x <= 0.0:
        return 1.0
    half = x / 2.0
    log_half = math.log(half)
    first = (degrees % 2) / 2.0
    terms = [
        math.exp(
            (first + i) * log_half - half - math.lgamma(first + i + 1.0)
        )  # in logarithms: x may be in the thousands
        for i in range(degrees // 2)
    ]
    return min(1.0, math.fsum(terms) + (math.erfc(math.sqrt(half)) if degrees % 2 else 0.0))
