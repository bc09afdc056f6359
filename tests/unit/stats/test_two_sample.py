import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.two_sample import chi_square, ks_binned

BINS = 100


def binned(x: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(np.linspace(-2.5, 2.5, BINS - 1), x), minlength=BINS)


@pytest.mark.parametrize("level", [0.05, 0.01])
def test_ks_on_bins_holds_its_level(level: float) -> None:
    rng = np.random.default_rng(0)
    flagged = [
        ks_binned(binned(rng.normal(size=2000)), binned(rng.normal(size=700))).p_value < level for _ in range(1000)
    ]
    assert np.mean(flagged) <= level * 1.3


def test_ks_on_bins_is_close_to_ks_on_rows() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=3000), rng.normal(0.08, 1, size=2000)
    exact = ks_2samp(a, b, method="asymp")
    found = ks_binned(binned(a), binned(b))
    assert found.statistic == pytest.approx(exact.statistic, abs=0.01)
    assert found.statistic <= exact.statistic


def test_ks_finds_a_tenth_of_a_sigma_in_ten_thousand_rows() -> None:
    rng = np.random.default_rng(2)
    found = [
        ks_binned(binned(rng.normal(size=10_000)), binned(rng.normal(0.1, 1, 10_000))).p_value < 1e-3 for _ in range(50)
    ]
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("categories", [2, 10, 50])
def test_chi_square_holds_its_level_with_a_noisy_reference(categories: int) -> None:
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(categories))
    flagged = [
        chi_square(rng.multinomial(1000, shares), rng.multinomial(1000, shares)).p_value < 0.05 for _ in range(1500)
    ]
    assert 0.02 <= np.mean(flagged) <= 0.068


def test_chi_square_holds_a_small_level_with_sparse_categories() -> None:
    rng = np.random.default_rng(4)
    shares = rng.dirichlet(np.full(80, 0.1))
    flagged = [
        chi_square(rng.multinomial(300, shares), rng.multinomial(200, shares)).p_value < 0.002 for _ in range(2000)
    ]
    assert np.mean(flagged) <= 0.006


def test_chi_square_agrees_with_the_contingency_table() -> None:
    from scipy.stats import chi2_contingency

    reference, current = np.array([500, 300, 200]), np.array([90, 80, 30])
    expected = chi2_contingency(np.stack((reference, current)), correction=False)
    found = chi_square(reference, current)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_one_category_is_no_difference() -> None:
    assert chi_square([100], [50]).p_value == 1.0
    assert chi_square([100, 0], [50, 0]).p_value == 1.0


@pytest.mark.parametrize("test", [ks_binned, chi_square])
def test_samples_that_cannot_be_compared_are_refused(test) -> None:
    with pytest.raises(InvalidInput, match="without any rows"):
        test([1, 2], [0, 0])
    with pytest.raises(InvalidInput, match="cannot be compared"):
        test([1, 2], [1, 2, 3])
