"""Profiles merge like their rows concatenate."""

import math

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lockgate.data.profile import decode_profile, encode_profile, merge, profile_frame
from lockgate.data.profile_values import profile_values

numbers = st.one_of(
    st.none(), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, -0.0, 1.0, math.inf])
)
words = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]), st.text(max_size=3))
flags = st.one_of(st.none(), st.booleans())
SCHEMA = {"x": pl.Float64, "k": pl.String, "f": pl.Boolean}


@st.composite
def frames(draw: st.DrawFn, min_size: int = 0) -> pl.DataFrame:
    rows = draw(st.lists(st.tuples(numbers, words, flags), min_size=min_size, max_size=40))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(reference=frames(), first=frames(), second=frames())
def test_the_profile_of_all_rows_is_the_merge_of_the_profiles(
    reference: pl.DataFrame, first: pl.DataFrame, second: pl.DataFrame
) -> None:
    known = profile_frame(reference)

    together = profile_frame(pl.concat([first, second]), reference=known)
    merged = merge(profile_frame(first, reference=known), profile_frame(second, reference=known))

    assert merged == together
    assert decode_profile(encode_profile(merged)) == together


@given(reference=frames(), rows=frames())
def test_every_row_is_counted_once(reference: pl.DataFrame, rows: pl.DataFrame) -> None:
    profile = profile_frame(rows, reference=profile_frame(reference))

    for column in profile.columns.values():
        counted = sum(column.counts) + column.missing + column.invalid + getattr(column, "nan", 0)  # type: ignore[union-attr]
        assert counted == rows.height


@given(rows=frames())
def test_a_reference_compared_with_itself_is_itself(rows: pl.DataFrame) -> None:
    known = profile_frame(rows)

    assert profile_frame(rows, reference=known) == known


@given(reference=frames(), rows=frames())
def test_plain_values_are_counted_like_a_frame(reference: pl.DataFrame, rows: pl.DataFrame) -> None:
    known = profile_frame(reference)

    assert profile_values(rows.to_dict(as_series=False), rows=rows.height, reference=known) == profile_frame(
        rows, reference=known
    )
