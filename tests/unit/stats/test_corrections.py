import numpy as np
import pytest

from lockgate.stats.corrections import benjamini_hochberg, bonferroni, holm


@pytest.mark.parametrize("adjust", [bonferroni, holm, benjamini_hochberg])
def test_no_tests_give_no_p_values(adjust) -> None:
    assert adjust([]) == []


@pytest.mark.parametrize("adjust", [bonferroni, holm, benjamini_hochberg])
def test_order_of_the_tests_does_not_matter(adjust) -> None:
    p = np.array([0.2, 0.01, 0.04, 0.03, 0.9])
    order = np.array([3, 0, 4, 2, 1])
    np.testing.assert_allclose(np.array(adjust(p))[order], adjust(p[order]))


def test_holm_matches_the_published_steps() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg_matches_scipy() -> None:
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(0).random(50) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))


@pytest.mark.parametrize("adjust", [bonferroni, holm, benjamini_hochberg])
def test_false_alarms_over_many_null_tests_stay_at_the_level(adjust) -> None:
    rng = np.random.default_rng(1)
    assert np.mean([min(adjust(rng.random(60))) < 0.05 for _ in range(2000)]) <= 0.062


def test_more_true_effects_are_found_by_the_more_powerful_method() -> None:
    rng = np.random.default_rng(2)
    p = np.concatenate((rng.random(30), rng.random(30) * 0.01))
    found = [sum(value < 0.05 for value in adjust(p)) for adjust in (bonferroni, holm, benjamini_hochberg)]
    assert found == sorted(found) and found[2] > found[0]
