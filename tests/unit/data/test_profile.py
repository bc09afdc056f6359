import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from lockgate.data.profile import (
    CategoricalProfile,
    NumericProfile,
    PlainProfile,
    decode_profile,
    encode_profile,
    merge,
    profile_frame,
)
from lockgate.errors import DataDamaged, InvalidInput
from lockgate.stats.two_sample import ks_binned


def numeric(frame: pl.DataFrame, reference: pl.DataFrame | None = None) -> NumericProfile:
    profile = profile_frame(frame, reference=profile_frame(reference) if reference is not None else None)
    column = profile.columns["x"]
    assert isinstance(column, NumericProfile)
    return column


def test_few_distinct_numbers_get_a_bin_each() -> None:
    column = numeric(pl.DataFrame({"x": [0, 1, 1, 2, 2, 2]}))

    assert column.counts == (0, 1, 2, 3, 0)
    assert (column.low, column.high) == (0, 2)


def test_values_outside_the_reference_fall_into_the_outer_bins() -> None:
    reference = pl.DataFrame({"x": np.linspace(0, 1, 1000)})

    column = numeric(pl.DataFrame({"x": [-1.0, 0.0, 1.0, 1.1, 7.0]}), reference)

    assert (column.counts[0], column.counts[-1], sum(column.counts)) == (1, 2, 5)


def test_missing_nan_and_infinite_values_are_counted_apart() -> None:
    reference = pl.DataFrame({"x": [1.0, 2.0, 3.0]})

    column = numeric(pl.DataFrame({"x": [None, math.nan, math.nan, math.inf, -math.inf, 2.0]}), reference)

    assert (column.missing, column.nan) == (1, 2)
    assert (column.counts[0], column.counts[-1], sum(column.counts)) == (1, 1, 3)


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(20_000) < 0.6, -999.0, rng.normal(size=20_000))

    column = numeric(pl.DataFrame({"x": values}))

    at = column.edges.index(-999.0)
    assert column.counts[at + 1] == int((values == -999.0).sum())
    assert max(column.counts[at + 2 :]) < 0.03 * len(values)


def test_binned_kolmogorov_smirnov_is_close_to_the_exact_one_and_never_above() -> None:
    rng = np.random.default_rng(1)
    for shift, spread in ((0.0, 1.0), (0.1, 1.0), (0.3, 1.0), (0.0, 1.3)):
        past, now = rng.normal(size=5000), rng.normal(shift, spread, size=3000)
        reference = numeric(pl.DataFrame({"x": past}))
        current = numeric(pl.DataFrame({"x": now}), pl.DataFrame({"x": past}))

        exact = stats.ks_2samp(past, now).statistic
        binned = ks_binned(reference.counts, current.counts).statistic

        assert exact - 1 / 64 - 0.005 <= binned <= exact + 1e-12


def test_categories_beyond_the_cap_and_unseen_ones_count_as_other() -> None:
    reference = pl.DataFrame({"x": [f"c{i // 2}" for i in range(240)]})
    known = profile_frame(reference)
    column = known.columns["x"]
    assert isinstance(column, CategoricalProfile)
    assert (len(column.categories), column.counts[-1]) == (100, 40)

    now = profile_frame(pl.DataFrame({"x": ["c0", "c0", "new", None]}), reference=known).columns["x"]
    assert isinstance(now, CategoricalProfile)
    assert (now.counts[now.categories.index("c0")], now.counts[-1], now.missing) == (2, 1, 1)


def test_values_of_another_type_are_invalid_and_text_that_reads_as_a_number_is_not() -> None:
    reference = pl.DataFrame({"x": [1.0, 2.0], "b": [True, False], "s": ["1", "2"]})

    now = profile_frame(
        pl.DataFrame({"x": ["1.5", "abc", None], "b": [1, 0, 7], "s": [1, 2, 3]}), reference=profile_frame(reference)
    )

    assert [(c.invalid, c.missing) for c in now.columns.values()] == [(1, 1), (1, 0), (0, 0)]
    s = now.columns["s"]
    assert isinstance(s, CategoricalProfile)
    assert s.counts == (1, 1, 1)


def test_a_column_that_is_gone_is_missing_in_every_row() -> None:
    known = profile_frame(pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}))

    now = profile_frame(pl.DataFrame({"c": [1, 2, 3]}), reference=known)

    assert [column.missing for column in now.columns.values()] == [3, 3]


def test_times_lists_and_empty_tables_have_a_profile_too() -> None:
    frame = pl.DataFrame({"t": [None, 1], "l": [[1], [2]], "x": [1.0, None]}, schema_overrides={"t": pl.Datetime})

    profile = profile_frame(frame)

    assert isinstance(profile.columns["t"], PlainProfile)
    assert isinstance(profile.columns["l"], PlainProfile)
    assert profile_frame(frame.clear(), reference=profile).rows == 0
    assert profile_frame(frame.clear()).columns["x"].rows == 0


def test_a_profile_travels_as_json_and_is_small() -> None:
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"x": rng.normal(size=10_000), "k": rng.choice(["a", "b"], 10_000)})

    profile = profile_frame(frame)
    data = encode_profile(profile)

    assert decode_profile(data) == profile
    assert len(data) < 4000
    with pytest.raises(DataDamaged):
        decode_profile(data[:-5])


def test_profiles_with_other_bins_do_not_merge() -> None:
    a = profile_frame(pl.DataFrame({"x": [1.0, 2.0]}))
    b = profile_frame(pl.DataFrame({"x": [1.0, 3.0]}))

    with pytest.raises(InvalidInput, match="'x' have different bins"):
        merge(a, b)
    with pytest.raises(InvalidInput, match="different columns"):
        merge(a, profile_frame(pl.DataFrame({"y": [1.0]})))


def test_many_cells_are_counted_like_few() -> None:
    rng = np.random.default_rng(3)
    frame = pl.DataFrame({f"x{i}": rng.normal(size=150_000) for i in range(4)})
    known = profile_frame(frame.head(1000))

    whole = profile_frame(frame, reference=known)
    parts = [profile_frame(part, reference=known) for part in frame.iter_slices(10_000)]

    assert merge(*parts) == whole
