"""Plain values are counted as Polars counts them, whatever the columns hold."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from lockgate.data.profile import CategoricalProfile, NumericProfile, PlainProfile, Profile, merge, profile_frame
from lockgate.data.profile_values import profile_values

TYPES = {
    "number": NumericProfile,
    "whole": NumericProfile,
    "flag": CategoricalProfile,
    "text": CategoricalProfile,
    "many": CategoricalProfile,
    "time": PlainProfile,
    "list": PlainProfile,
    "empty": NumericProfile,
}


def table(rng: np.random.Generator, rows: int, *, shift: float = 0.0) -> pl.DataFrame:
    def some(values: list[object]) -> list[object]:
        return [None if absent else value for absent, value in zip(rng.random(rows) < 0.1, values, strict=True)]

    start = datetime(2026, 1, 1)
    return pl.DataFrame(
        {
            "number": some(np.round(rng.normal(shift, size=rows), 2).tolist()),
            "whole": some(rng.poisson(3 + shift, rows).tolist()),
            "flag": some((rng.random(rows) < 0.3).tolist()),
            "text": some(rng.choice(["a", "b", "c", "é"], rows).tolist()),
            "many": some([f"k{i}" for i in rng.zipf(1.4, rows) % 500]),
            "time": some([start + timedelta(minutes=i) for i in range(rows)]),
            "list": some([[i] for i in range(rows)]),
            "empty": pl.Series([None] * rows, dtype=pl.Float64),
        }
    )


@pytest.mark.parametrize("rows", [0, 1, 7, 400])
@pytest.mark.parametrize("shift", [0.0, 2.5])
def test_every_type_of_column_with_missing_values_is_counted_alike(rows: int, shift: float) -> None:
    rng = np.random.default_rng(rows)
    reference = profile_frame(table(rng, 2000))
    frame = table(rng, rows, shift=shift)

    found = profile_values(frame.to_dict(as_series=False), rows=rows, reference=reference)

    assert {name: type(column) for name, column in reference.columns.items()} == TYPES
    assert found == profile_frame(frame, reference=reference)


@pytest.mark.parametrize("past", [[1.0, 2.0, 3.0], [0, 1, 2], [True, False, True], ["1", "a", "true"]])
@pytest.mark.parametrize(
    "now",
    [
        [1.0, -1.0, 1.5, None, 2.25],
        [0, 1, 7, None],
        [True, None, False],
        ["true", "a", "new", None, ""],
        [
            "1",
            "2.5",
            " 1",
            "1 ",
            "1_0",
            "1e1",
            "+2",
            ".5",
            "5.",
            "1e400",
            "inf",
            "-Infinity",
            "nan",
            "0x1",
            "1,5",
            "１",
        ],
        [None, None],
    ],
)
def test_values_of_another_type_than_the_references_are_counted_alike(past: list[object], now: list[object]) -> None:
    reference = profile_frame(pl.DataFrame({"x": past}))

    found = profile_values({"x": now}, rows=len(now), reference=reference)

    assert found == profile_frame(pl.DataFrame({"x": now}), reference=reference)


def test_numbers_beyond_any_float_and_not_a_number_are_no_values() -> None:
    reference = profile_frame(pl.DataFrame({"x": [1.0, 2.0]}))

    column = profile_values(
        {"x": [float("nan"), float("inf"), -float("inf"), 10**400, 1]}, rows=5, reference=reference
    ).columns["x"]

    assert isinstance(column, NumericProfile)
    assert (column.nan, column.invalid, sum(column.counts), column.low, column.high) == (1, 1, 3, 1.0, 1.0)


def test_every_value_counts_for_itself_where_clients_send_different_types() -> None:
    reference = profile_frame(pl.DataFrame({"x": [1.0, 2.0], "s": ["1", "true"], "b": [True, False]}))
    mixed = [1, "1", True, "many"]

    found = profile_values({"x": mixed, "s": mixed, "b": mixed}, rows=4, reference=reference)

    x, s, b = found.columns.values()
    assert (x.invalid, s.invalid, b.invalid) == (1, 0, 0)
    assert isinstance(s, CategoricalProfile) and isinstance(b, CategoricalProfile)
    assert (s.categories, s.counts) == (("1", "true"), (2, 1, 1))
    assert (b.categories, b.counts) == (("false", "true"), (0, 2, 2))


def test_a_column_that_was_not_sent_is_missing_in_every_row_and_one_that_is_unknown_is_left_out() -> None:
    reference = profile_frame(pl.DataFrame({"x": [1.0, 2.0], "k": ["a", "b"]}))

    found = profile_values({"other": [1, 2, 3]}, rows=3, reference=reference)

    assert [(name, column.missing, column.rows) for name, column in found.columns.items()] == [("x", 3, 3), ("k", 3, 3)]


def test_profiles_of_both_kinds_merge() -> None:
    rng = np.random.default_rng(0)
    frame = table(rng, 300)
    reference = profile_frame(frame)

    def logged(rows: pl.DataFrame) -> Profile:
        return profile_values(rows.to_dict(as_series=False), rows=rows.height, reference=reference)

    assert merge(logged(frame.head(100)), profile_frame(frame.slice(100), reference=reference)) == reference
    assert logged(frame) == reference
