import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.alarm_budget import YEAR_S, window_alpha
from lockgate.stats.corrections import benjamini_hochberg
from lockgate.stats.two_sample import ks_binned


def test_windows_times_alpha_is_the_budget() -> None:
    assert window_alpha(2.0, 3600.0) * YEAR_S / 3600.0 == pytest.approx(2.0)


@pytest.mark.parametrize(("budget", "window"), [(0.0, 60.0), (1.0, 0.0), (-1.0, 60.0), (float("nan"), 60.0)])
def test_what_is_not_positive_is_refused(budget: float, window: float) -> None:
    with pytest.raises(InvalidInput, match="positive"):
        window_alpha(budget, window)


@pytest.mark.slow
def test_a_year_of_daily_windows_keeps_its_budget() -> None:
    """60 columns, 365 windows, one stored reference: false alarms per year at most the budget."""
    rng = np.random.default_rng(0)
    alpha = window_alpha(1.0, 86_400.0)
    years, alarms = 12, 0
    for _ in range(years):
        reference = rng.multinomial(20_000, np.full(50, 0.02), size=60)
        for _ in range(365):
            current = rng.multinomial(1000, np.full(50, 0.02), size=60)
            p = [ks_binned(reference[i], current[i]).p_value for i in range(60)]
            alarms += min(benjamini_hochberg(p)) < alpha
    assert alarms / years <= 1.5
