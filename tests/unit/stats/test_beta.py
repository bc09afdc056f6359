import math
import random

import pytest
from scipy.special import betaincc, betaln

from lockgate.stats.beta import log_beta, log_beta_above


def test_both_agree_with_scipy_over_the_range_of_request_counts() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        share = rng.choice([0.01, 0.05, 0.25, 0.5, 0.9])
        events = rng.random() ** 2 * 10 ** rng.uniform(0, 6)
        a = 20 * share + int(events * share * rng.uniform(0, 3))
        b = 20 * (1 - share) + int(events)
        assert log_beta(a, b) == pytest.approx(float(betaln(a, b)), rel=1e-9)
        above = float(betaincc(a, b, share))
        if above > 1e-250:
            assert log_beta_above(share, a, b) == pytest.approx(math.log(above), rel=1e-7, abs=1e-7)
