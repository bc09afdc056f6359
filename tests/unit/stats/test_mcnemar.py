import numpy as np

from lockgate.stats.mcnemar import mcnemar_exact


def test_equal_answers_tell_nothing() -> None:
    right = np.array([True, False, True])
    assert mcnemar_exact(right, right).p_value == 1.0


def test_level_holds_for_equally_good_models() -> None:
    rng = np.random.default_rng(0)
    flagged = [mcnemar_exact(rng.random(300) < 0.8, rng.random(300) < 0.8).p_value < 0.05 for _ in range(500)]
    assert np.mean(flagged) <= 0.06
