import numpy as np
import pytest
from scipy.special import chdtrc, kolmogorov

from lockgate.stats.tails import chi_square_tail, kolmogorov_tail


def test_kolmogorovs_tail_agrees_with_scipy_from_one_to_nothing() -> None:
    for x in np.concatenate((np.linspace(0.0, 3.0, 601), np.linspace(3.0, 18.0, 61))).tolist():
        assert kolmogorov_tail(x) == pytest.approx(float(kolmogorov(x)), rel=1e-12, abs=1e-280)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 10, 11, 64, 100, 101])
def test_chi_squares_tail_agrees_with_scipy_from_one_to_nothing(degrees: int) -> None:
    for x in np.geomspace(1e-9, 1300.0, 200).tolist():
        assert chi_square_tail(x, degrees) == pytest.approx(float(chdtrc(degrees, x)), rel=1e-12)


def test_statistics_beyond_any_float_have_a_tail_of_zero_and_none_has_one() -> None:
    assert kolmogorov_tail(1e-300) == kolmogorov_tail(0.0) == chi_square_tail(0.0, 3) == 1.0
    assert kolmogorov_tail(1e6) == chi_square_tail(1e9, 100) == chi_square_tail(1e9, 1) == 0.0
