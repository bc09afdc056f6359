"""The promise of `false_alarms_per_year`, simulated: windows without drift stay silent, a real shift does not."""

import numpy as np
import polars as pl

from lockgate.data.drift import compare
from lockgate.data.profile import profile_frame
from lockgate.monitoring.quality import broken_expectations
from lockgate.stats.alarm_budget import window_alpha

COLUMNS = 24
DAY_S = 86_400.0


def healthy(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """Correlated numbers, heavy tails, counts, categories: all from one population."""
    common = rng.normal(size=rows)
    numbers = {f"x{i}": 0.5 * common + rng.normal(size=rows) for i in range(COLUMNS // 2)}
    tails = {f"t{i}": rng.lognormal(0, 1.5, rows) for i in range(COLUMNS // 4)}
    counts = {f"n{i}": rng.poisson(1.5, rows) for i in range(COLUMNS // 8)}
    words = {f"k{i}": rng.choice(list("abcdefgh"), rows) for i in range(COLUMNS // 8)}
    return pl.DataFrame(numbers | tails | counts | words)


def alarms(alpha: float, *, min_effect: float, years: int, windows: int, seed: int) -> tuple[int, int]:
    """Windows with a drift alarm and with a quality alarm; each year has a training set of its own."""
    rng = np.random.default_rng(seed)
    drift = quality = 0
    for _ in range(years):
        reference = profile_frame(healthy(rng, 1500))
        for _ in range(windows):
            current = profile_frame(healthy(rng, 400), reference=reference)
            drift += any(c.drift_detected for c in compare(reference, current, alpha=alpha, min_effect=min_effect))
            quality += bool(broken_expectations(reference, current, alpha=alpha))
    return drift, quality


def test_a_year_of_daily_windows_stays_within_the_budget() -> None:
    alpha = window_alpha(1.0, DAY_S)

    drift, quality = alarms(alpha, min_effect=0.1, years=2, windows=30, seed=1)

    assert drift + quality <= 1


def test_the_budget_holds_without_the_effect_floor() -> None:
    # a level that is large enough to be measured: 120 windows at .05 give 6 false alarms where the level is exact
    drift, quality = alarms(0.05, min_effect=0.0, years=12, windows=10, seed=2)

    assert drift <= 12  # P(more) < .01 for 120 windows at .05
    assert quality <= 12


def test_a_shift_in_one_of_many_columns_is_found_in_the_first_window() -> None:
    rng = np.random.default_rng(3)
    reference = profile_frame(healthy(rng, 1500))
    alpha = window_alpha(1.0, DAY_S)
    found = 0
    for _ in range(20):
        rows = healthy(rng, 400).with_columns(pl.col("x3") + 0.6)
        drifted = [
            drift.column
            for drift in compare(reference, profile_frame(rows, reference=reference), alpha=alpha, min_effect=0.1)
            if drift.drift_detected
        ]
        found += drifted == ["x3"]

    assert found >= 18
