"""An alarm budget -> the level of one window's test: 'at most so many false alarms a year', spread over the windows."""

from lockgate.errors import InvalidInput

YEAR_S = 365.25 * 86_400.0
# A budget may allow a test to be looser than this; a looser one tells nothing, and fewer false alarms keep the promise.
_LOOSEST = 0.05


def window_alpha(false_alarms_per_year: float, window_s: float) -> float:
    """The probability of a false alarm that one window may have, all its columns together; never above .05.

    The expected number of false alarms in a year is windows times alpha, whatever the dependence between windows; so
    is, for budgets below one, a bound on P(any false alarm in a year). Raises InvalidInput where an argument is not
    positive.

        >>> round(window_alpha(1.0, 86_400.0), 6)
        0.002738
        >>> window_alpha(12.0, 30 * 86_400.0)
        0.05
    """
    if not (false_alarms_per_year > 0 and window_s > 0):
        raise InvalidInput(
            f"an alarm budget and a window are positive, not {false_alarms_per_year} a year and {window_s} s."
        )
    return min(false_alarms_per_year * window_s / YEAR_S, _LOOSEST)
