import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.divergences import jensen_shannon, psi, wasserstein


def test_jensen_shannon_agrees_with_scipy() -> None:
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(0)
    p, q = rng.integers(0, 100, 30), rng.integers(0, 100, 30)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2))


def test_wasserstein_agrees_with_rows_spread_over_the_bins() -> None:
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(1)
    edges = np.linspace(-4, 5, 60)
    a, b = rng.normal(size=20_000), rng.normal(0.4, 1.2, size=20_000)
    found = wasserstein(edges, np.histogram(a, edges)[0], np.histogram(b, edges)[0])
    assert found == pytest.approx(wasserstein_distance(a, b), abs=0.01)


def test_wasserstein_of_shares_that_cross_inside_a_bin() -> None:
    # F differs by +1/2 after the first bin, and by -1/2 after the second: two triangles in the second one.
    assert wasserstein([0.0, 1.0, 2.0, 3.0], [2, 0, 2], [0, 4, 0]) == pytest.approx(0.25 + 0.25 + 0.25)


def test_an_empty_bin_costs_a_finite_amount() -> None:
    assert 1 < psi([100, 100], [200, 0]) < 10


def test_psi_of_noise_is_near_its_expectation() -> None:
    rng = np.random.default_rng(2)
    values = [psi(rng.multinomial(2000, np.full(10, 0.1)), rng.multinomial(2000, np.full(10, 0.1))) for _ in range(300)]
    assert np.mean(values) == pytest.approx(9 * (1 / 2000 + 1 / 2000), rel=0.15)


@pytest.mark.parametrize("edges", [[0.0, 1.0], [0.0, np.inf, 2.0], [0.0, 2.0, 1.0]])
def test_edges_that_do_not_fit_are_refused(edges: list[float]) -> None:
    with pytest.raises(InvalidInput, match="edges"):
        wasserstein(edges, [1, 2], [2, 1])
