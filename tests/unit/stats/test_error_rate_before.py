import math

import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.error_rate_before import error_rate_beyond_e_value, upper_error_rate

ALPHA = 0.1


def rolled_back(
    rng: np.random.Generator, *, before: float, after: float, requests: int, looks: int, every: int
) -> bool:
    """Whether a version that errs at `after` is caught at any look, with half of ALPHA for each of the two parts."""
    rate = upper_error_rate(int(rng.binomial(requests, before)), requests, alpha=ALPHA / 2)
    errors = rng.binomial(every, after, looks).cumsum()
    return any(
        error_rate_beyond_e_value(errors=int(count), requests=every * (look + 1), rate=rate) >= 2 / ALPHA
        for look, count in enumerate(errors)
    )


@pytest.mark.parametrize(("rate", "requests"), [(0.02, 500), (0.02, 50_000), (0.3, 40)])
def test_false_rollbacks_stay_below_alpha_however_often_one_looks(rate: float, requests: int) -> None:
    rng = np.random.default_rng(1)
    caught = [rolled_back(rng, before=rate, after=rate, requests=requests, looks=60, every=50) for _ in range(300)]
    assert np.mean(caught) <= ALPHA


def test_a_version_that_errs_three_times_as_often_is_found() -> None:
    rng = np.random.default_rng(2)
    caught = [rolled_back(rng, before=0.01, after=0.03, requests=5000, looks=60, every=50) for _ in range(50)]
    assert np.mean(caught) >= 0.9


def test_a_short_past_proves_little() -> None:
    rng = np.random.default_rng(3)
    caught = [rolled_back(rng, before=0.01, after=0.03, requests=30, looks=60, every=50) for _ in range(50)]
    assert np.mean(caught) <= 0.1


@pytest.mark.parametrize(
    ("errors", "requests"), [(0, 1), (0, 10), (3, 20), (19, 20), (10, 10_000), (5000, 1_000_000), (0, 10_000_000)]
)
@pytest.mark.parametrize("alpha", [0.05, 0.0005])
def test_the_bound_is_the_exact_one(errors: int, requests: int, alpha: float) -> None:
    from scipy.stats import beta

    exact = beta.ppf(1 - alpha, errors + 1, requests - errors)
    assert upper_error_rate(errors, requests, alpha=alpha) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(("errors", "requests"), [(0, 0), (7, 7)])
def test_what_always_failed_or_never_ran_bounds_nothing(errors: int, requests: int) -> None:
    rate = upper_error_rate(errors, requests, alpha=0.05)
    assert rate == 1.0
    assert error_rate_beyond_e_value(errors=100, requests=100, rate=rate) == 1.0


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_the_e_value_has_mean_at_most_one_up_to_the_rate(share: float) -> None:
    from scipy.stats import binom

    rate, requests = 1e-3, 60
    mean = sum(
        binom.pmf(k, requests, share * rate) * error_rate_beyond_e_value(errors=k, requests=requests, rate=rate)
        for k in range(requests + 1)
    )
    assert mean <= 1.0 + 1e-9


def test_extreme_counts_neither_overflow_nor_fail() -> None:
    assert error_rate_beyond_e_value(errors=10**6, requests=10**6, rate=1e-7) == math.inf
    assert 0.0 <= error_rate_beyond_e_value(errors=0, requests=10**9, rate=0.01) < 0.01


@pytest.mark.parametrize(("errors", "requests"), [(3, 2), (-1, 2)])
def test_counts_that_cannot_be_are_refused(errors: int, requests: int) -> None:
    with pytest.raises(InvalidInput, match=f"{errors} errors in {requests} requests"):
        upper_error_rate(errors, requests, alpha=0.05)
    with pytest.raises(InvalidInput, match=f"{errors} errors in {requests} requests"):
        error_rate_beyond_e_value(errors=errors, requests=requests, rate=0.5)
