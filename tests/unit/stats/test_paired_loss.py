import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.paired_loss import paired_loss_interval, paired_loss_wealth


def differences(rng: np.random.Generator, rows: int, worse_by: float) -> np.ndarray:
    """-1, 0 or 1 with mean `worse_by`; both models agree on four rows of five."""
    return rng.choice([-1.0, 0.0, 1.0], rows, p=[0.1 - worse_by / 2, 0.8, 0.1 + worse_by / 2])


def test_equal_models_are_rarely_called_worse_however_often_one_looks() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([paired_loss_wealth(differences(rng, 3000, 0.0)).max() >= 20 for _ in range(400)]) <= 0.05


def test_a_worse_candidate_is_found() -> None:
    rng = np.random.default_rng(1)
    assert np.mean([paired_loss_wealth(differences(rng, 4000, 0.05)).max() >= 20 for _ in range(60)]) >= 0.95


def test_a_loss_inside_the_margin_is_tolerated() -> None:
    rng = np.random.default_rng(2)
    wealth = [paired_loss_wealth(differences(rng, 4000, 0.05), margin=0.05).max() for _ in range(200)]
    assert np.mean(np.array(wealth) >= 20) <= 0.05


def test_wealth_of_a_row_does_not_depend_on_later_rows() -> None:
    d = differences(np.random.default_rng(3), 500, 0.05)
    np.testing.assert_allclose(paired_loss_wealth(d)[:200], paired_loss_wealth(d[:200]))


def test_the_interval_holds_the_truth_at_every_row() -> None:
    rng = np.random.default_rng(4)
    held = []
    for _ in range(20):
        d = differences(rng, 1200, 0.04)
        intervals = [paired_loss_interval(d[:rows]) for rows in (50, 200, 600, 1200)]
        held.append(all(interval.low <= 0.04 <= interval.high for interval in intervals))
    assert np.mean(held) >= 0.9


def test_the_interval_narrows() -> None:
    d = differences(np.random.default_rng(5), 4000, 0.04)
    early, late = paired_loss_interval(d[:200]), paired_loss_interval(d)
    assert late.high - late.low < (early.high - early.low) / 2


def test_no_rows_say_nothing() -> None:
    assert paired_loss_interval(np.array([])) == (-1.0, 1.0)


def test_losses_beyond_the_unit_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\[-1, 1\]"):
        paired_loss_wealth(np.array([0.0, 1.5]))
    with pytest.raises(InvalidInput, match=r"\[-1, 1\]"):
        paired_loss_wealth(np.array([np.nan]))
