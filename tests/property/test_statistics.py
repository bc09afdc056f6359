"""What holds for any counts and any p-values, whatever they are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.stats.corrections import benjamini_hochberg, bonferroni, holm
from lockgate.stats.divergences import jensen_shannon, psi, wasserstein
from lockgate.stats.error_rate import log_share_e_value
from lockgate.stats.two_sample import chi_square, ks_binned
from lockgate.stats.wilson import wilson_interval

p_values = st.lists(st.floats(0, 1), max_size=30)
pairs = st.integers(1, 20).flatmap(
    lambda bins: st.tuples(*[st.lists(st.integers(0, 10_000), min_size=bins, max_size=bins).filter(any)] * 2)
)


@given(p_values)
def test_corrections_never_help_a_test_and_order_by_power(p: list[float]) -> None:
    plain, bh, stepped, simple = map(np.array, (p, benjamini_hochberg(p), holm(p), bonferroni(p)))
    for adjusted in (bh, stepped, simple):
        assert ((adjusted >= plain) & (adjusted <= 1)).all()
    assert (bh <= stepped + 1e-12).all() and (stepped <= simple + 1e-12).all()


@given(pairs)
@settings(deadline=None)
def test_two_sample_tests_are_symmetric_and_probable(counts: tuple[list[int], list[int]]) -> None:
    a, b = counts
    for test in (ks_binned, chi_square):
        forth, back = test(a, b), test(b, a)
        assert 0 <= forth.p_value <= 1
        np.testing.assert_allclose(forth.p_value, back.p_value, atol=1e-9)
        assert test(a, a).p_value > 0.999


@given(pairs)
def test_divergences_are_zero_for_equals_and_symmetric(counts: tuple[list[int], list[int]]) -> None:
    a, b = counts
    edges = np.arange(len(a) + 1.0)
    assert psi(a, a) == 0 and jensen_shannon(a, a) < 1e-7 and wasserstein(edges, a, a) == 0
    assert psi(a, b) >= 0 and 0 <= jensen_shannon(a, b) <= 1 + 1e-12
    assert 0 <= wasserstein(edges, a, b) <= len(a)
    np.testing.assert_allclose(psi(a, b), psi(b, a))
    np.testing.assert_allclose(wasserstein(edges, a, b), wasserstein(edges, b, a))


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.01, 0.99))
def test_one_more_error_on_the_canary_is_more_evidence_and_one_on_the_stable_version_less(
    canary: int, stable: int, share: float
) -> None:
    here = log_share_e_value(canary, stable, share)
    if here == -np.inf:
        return
    assert log_share_e_value(canary + 1, stable, share) > here
    assert log_share_e_value(canary, stable + 1, share) < here


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_observed_share(counts: tuple[int, int]) -> None:
    low, high = wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1
