import math

import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.error_rate import error_rate_e_value, log_share_e_value

SHARE = 0.1


def runs(rng: np.random.Generator, *, runs: int, looks: int, every: int, stable: float, canary: float) -> np.ndarray:
    """Cumulative counters (runs, looks, 4): canary errors, canary requests, stable errors, stable requests."""
    canary_requests = rng.binomial(every, SHARE, (runs, looks))
    stable_requests = every - canary_requests
    canary_errors = rng.binomial(canary_requests, canary)
    stable_errors = rng.binomial(stable_requests, stable)
    return np.stack((canary_errors, canary_requests, stable_errors, stable_requests), axis=2).cumsum(axis=1)


def largest_log_e(counters: np.ndarray) -> float:
    return max(log_share_e_value(int(look[0]), int(look[2]), SHARE) for look in counters)


def test_false_rollbacks_stay_below_alpha_however_often_one_looks() -> None:
    counters = runs(np.random.default_rng(1), runs=300, looks=80, every=250, stable=0.02, canary=0.02)
    alarms = np.mean([largest_log_e(run) >= math.log(1 / 0.05) for run in counters])
    assert alarms <= 0.05  # an honest level; a z-test looked at as often alarms in about a third of these runs


def test_false_rollbacks_stay_rare_when_the_error_rate_itself_moves() -> None:
    rng = np.random.default_rng(2)
    rates = np.repeat([0.001, 0.2, 0.01, 0.1], 15)
    alarms = 0
    for _ in range(200):
        errors = rng.binomial(250, rates)
        on_canary = rng.binomial(errors, SHARE).cumsum()
        log_e = [
            log_share_e_value(int(c), int(s), SHARE)
            for c, s in zip(on_canary, errors.cumsum() - on_canary, strict=True)
        ]
        alarms += max(log_e) >= math.log(1 / 0.05)
    assert alarms / 200 <= 0.05


def test_a_doubled_error_rate_is_found() -> None:
    counters = runs(np.random.default_rng(3), runs=60, looks=80, every=500, stable=0.01, canary=0.02)
    assert np.mean([largest_log_e(run) >= math.log(1 / 0.05) for run in counters]) >= 0.9


def test_a_canary_that_errs_less_gives_no_evidence() -> None:
    counters = runs(np.random.default_rng(4), runs=50, looks=20, every=500, stable=0.05, canary=0.01)
    assert max(largest_log_e(run) for run in counters) < math.log(20)


def test_the_e_value_has_mean_one_at_the_boundary_of_the_null() -> None:
    from scipy.stats import binom

    errors = 40
    mean = sum(
        binom.pmf(k, errors, SHARE) * math.exp(log_share_e_value(k, errors - k, SHARE)) for k in range(errors + 1)
    )
    assert mean == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("theta", [0.01, 0.05, 0.09])
def test_the_e_value_has_mean_below_one_inside_the_null(theta: float) -> None:
    from scipy.stats import binom

    mean = sum(binom.pmf(k, 40, theta) * math.exp(log_share_e_value(k, 40 - k, SHARE)) for k in range(41))
    assert mean <= 1.0 + 1e-9


def test_extreme_counts_neither_overflow_nor_fail() -> None:
    worst = error_rate_e_value(
        canary_errors=100_000, canary_requests=100_000, stable_errors=0, stable_requests=10**6, canary_share=0.1
    )
    best = error_rate_e_value(
        canary_errors=0, canary_requests=10**6, stable_errors=100_000, stable_requests=10**7, canary_share=0.1
    )
    assert worst == math.inf
    assert 0.0 <= best < 0.01


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
def test_a_share_outside_zero_and_one_is_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match="share"):
        error_rate_e_value(canary_errors=1, canary_requests=2, stable_errors=1, stable_requests=2, canary_share=share)


def test_more_errors_than_requests_are_refused() -> None:
    with pytest.raises(InvalidInput, match="canary: 3 errors in 2 requests"):
        error_rate_e_value(canary_errors=3, canary_requests=2, stable_errors=0, stable_requests=2, canary_share=0.5)
