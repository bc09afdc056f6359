"""Drift of a table against a stored profile, and the promise of the alarm budget.

    .venv/bin/python benchmarks/drift.py                 the two timings
    .venv/bin/python benchmarks/drift.py --years 20      false alarms over years of daily windows of 60 columns

Bars on two cores: 100,000 rows a side, 60 columns (50 numeric, 10 categorical) under 0.3 s in memory (peers as
measured on this kind of machine: evidently 33 s, nannyml 4.6 s, whylogs 19 s); 1,000,000 rows of Parquet against a
stored profile within twice the time of reading the file and summing it.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from best import best_s

from lockgate.data.drift import compare
from lockgate.data.frames import read_frame
from lockgate.data.profile import profile_frame
from lockgate.stats.alarm_budget import window_alpha

DAY_S = 86_400.0


def table(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    numbers = {f"x{i}": rng.normal(size=rows) for i in range(50)}
    words = {f"k{i}": pl.Series(rng.integers(0, 10, rows)).cast(pl.String) for i in range(10)}
    return pl.DataFrame(numbers | words)


def timings(repeat: int) -> None:
    rng = np.random.default_rng(0)
    past, now = table(rng, 100_000), table(rng, 100_000)

    def both_sides() -> object:
        reference = profile_frame(past)
        return compare(reference, profile_frame(now, reference=reference), alpha=0.01, min_effect=0.1)

    print(f"100,000 rows a side, 60 columns       {best_s(both_sides, repeat):.3f} s   (bar 0.3 s)")
    reference = profile_frame(past)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        table(rng, 1_000_000).write_parquet(path)

        def against_profile() -> object:
            return compare(reference, profile_frame(read_frame(path), reference=reference), alpha=0.01, min_effect=0.1)

        def read_and_sum() -> object:
            return read_frame(path).select(pl.selectors.numeric().sum(), pl.selectors.string().null_count())

        base, ours = best_s(read_and_sum, repeat), best_s(against_profile, repeat)
    print(f"1,000,000 rows against a profile      {ours:.3f} s   ({ours / base:.2f} x reading and summing; bar 2 x)")
    print(f"read and sum                          {base:.3f} s")


def false_alarms(years: int, rows: int) -> None:
    """Null windows: each year has its own training rows, 365 windows a year, a budget of one false alarm a year."""
    alpha = window_alpha(1.0, DAY_S)
    rng = np.random.default_rng(1)
    for floor in (0.0, 0.1):
        alarms = windows = 0
        for _ in range(years):
            reference = profile_frame(table(rng, 5 * rows))
            for _ in range(365):
                current = profile_frame(table(rng, rows), reference=reference)
                found = compare(reference, current, alpha=alpha, min_effect=floor)
                alarms += any(drift.drift_detected for drift in found)
                windows += 1
        print(
            f"least effect {floor}: {alarms} windows with a false alarm in {windows} "
            f"({alarms / years:.2f} a year; budget 1)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--years", type=int, default=0, help="simulate this many years of windows instead")
    parser.add_argument("--rows", type=int, default=1000, help="rows of a simulated window")
    options = parser.parse_args()
    if options.years:
        false_alarms(options.years, options.rows)
    else:
        timings(options.repeat)


if __name__ == "__main__":
    main()
