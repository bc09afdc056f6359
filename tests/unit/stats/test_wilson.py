import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.wilson import wilson_interval


@pytest.mark.parametrize("probability", [0.02, 0.5, 0.97])
def test_coverage_is_close_to_the_confidence(probability: float) -> None:
    drawn = np.random.default_rng(0).binomial(80, probability, 4000)
    held = [low <= probability <= high for low, high in (wilson_interval(int(k), 80) for k in drawn)]
    assert np.mean(held) >= 0.92


def test_counts_that_cannot_be_are_refused() -> None:
    for successes, trials in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(InvalidInput):
            wilson_interval(successes, trials)
