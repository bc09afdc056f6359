import numpy as np
import pytest
from scipy.stats import hypergeom

from lockgate.stats.hypergeometric import upper_tail


def test_it_agrees_with_scipy_over_its_whole_support() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        total = int(rng.integers(1, 5000))
        marked, drawn = int(rng.integers(0, total + 1)), int(rng.integers(0, total + 1))
        k = int(rng.integers(0, drawn + 2))
        expected = float(hypergeom.sf(k - 1, total, marked, drawn))
        assert upper_tail(k, drawn=drawn, marked=marked, total=total) == pytest.approx(expected, rel=1e-7, abs=1e-290)


def test_far_tails_do_not_vanish_into_a_wrong_one() -> None:
    assert upper_tail(500, drawn=1000, marked=500, total=100_000) == pytest.approx(0.0, abs=1e-300)
    assert upper_tail(0, drawn=10, marked=0, total=10) == 1.0
    assert upper_tail(1, drawn=10, marked=0, total=10) == 0.0
