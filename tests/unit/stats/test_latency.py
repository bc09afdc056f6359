import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.latency import choose_thresholds, latency_e_value

EDGES = np.geomspace(1, 1000, 24)


def histogram(latencies: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(EDGES, latencies), minlength=len(EDGES) + 1)


def largest_e(
    rng: np.random.Generator, *, slower: float, looks: int, thresholds: tuple[int, ...] | None, tolerance: float = 1.0
) -> float:
    canary, stable = np.zeros(len(EDGES) + 1, int), np.zeros(len(EDGES) + 1, int)
    largest = 0.0
    for _ in range(looks):
        to_canary = int(rng.binomial(200, 0.2))
        canary += histogram(rng.lognormal(3, 0.6, to_canary) * slower)
        stable += histogram(rng.lognormal(3, 0.6, 200 - to_canary))
        e = latency_e_value(
            canary_counts=canary.tolist(),
            stable_counts=stable.tolist(),
            canary_share=0.2,
            thresholds=thresholds,
            edges=EDGES.tolist(),
            tolerance=tolerance,
        )
        largest = max(largest, e)
    return largest


def warm_up(rng: np.random.Generator) -> tuple[int, ...]:
    return choose_thresholds(histogram(rng.lognormal(3, 0.6, 2000)).tolist())


def test_equal_latency_rarely_rolls_back_however_often_one_looks() -> None:
    rng = np.random.default_rng(5)
    alarms = [largest_e(rng, slower=1.0, looks=15, thresholds=warm_up(rng)) >= 20 for _ in range(100)]
    assert np.mean(alarms) <= 0.05


def test_equal_latency_rarely_rolls_back_without_a_warm_up() -> None:
    rng = np.random.default_rng(6)
    assert np.mean([largest_e(rng, slower=1.0, looks=8, thresholds=None) >= 20 for _ in range(60)]) <= 0.05


def test_a_slower_canary_is_found() -> None:
    rng = np.random.default_rng(7)
    found = [largest_e(rng, slower=1.4, looks=15, thresholds=warm_up(rng)) >= 20 for _ in range(20)]
    assert np.mean(found) >= 0.95


def test_a_faster_canary_gives_no_evidence() -> None:
    rng = np.random.default_rng(8)
    assert largest_e(rng, slower=0.6, looks=15, thresholds=None) < 20


def test_a_canary_at_the_tolerance_rarely_rolls_back_and_one_beyond_it_is_found() -> None:
    rng = np.random.default_rng(9)
    assert (
        np.mean([largest_e(rng, slower=2.0, looks=8, thresholds=None, tolerance=2.0) >= 20 for _ in range(60)]) <= 0.05
    )
    assert largest_e(rng, slower=4.0, looks=15, thresholds=None, tolerance=2.0) >= 20


def test_a_tolerance_without_edges_is_refused() -> None:
    with pytest.raises(InvalidInput, match="needs the 1 edges"):
        latency_e_value(canary_counts=[1, 2], stable_counts=[1, 2], canary_share=0.1, tolerance=2.0)


def test_no_requests_give_no_evidence() -> None:
    assert latency_e_value(canary_counts=[0, 0], stable_counts=[0, 0], canary_share=0.1) == pytest.approx(1.0)


def test_different_edges_are_refused() -> None:
    with pytest.raises(InvalidInput, match="equal edges"):
        latency_e_value(canary_counts=[1, 2], stable_counts=[1, 2, 3], canary_share=0.1)


def test_an_empty_warm_up_chooses_nothing() -> None:
    assert choose_thresholds([0, 0, 0]) == ()
