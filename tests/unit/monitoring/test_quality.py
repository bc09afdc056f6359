import numpy as np
import polars as pl

from lockgate.data.profile import profile_frame
from lockgate.monitoring.quality import broken_expectations

TRAINING = pl.DataFrame(
    {
        "x": np.linspace(0, 10, 1000),
        "gap": [None if i % 10 == 0 else float(i) for i in range(1000)],
        "plan": ["a", "b"] * 500,
    }
)


def broken(current: pl.DataFrame, alpha: float = 1e-4) -> tuple[str, ...]:
    reference = profile_frame(TRAINING)
    return broken_expectations(reference, profile_frame(current, reference=reference), alpha=alpha)


def test_rows_like_training_break_nothing() -> None:
    assert broken(TRAINING.sample(300, seed=1)) == ()


def test_a_column_may_be_missing_as_often_as_in_training() -> None:
    assert broken(TRAINING.filter(pl.int_range(pl.len()) % 10 < 7)) == ()

    (said,) = broken(TRAINING.with_columns(gap=pl.when(pl.int_range(pl.len()) % 3 > 0).then("gap")))
    assert said.startswith("column 'gap': 400 of 1000 rows (40.00%) are missing (10.00% in training)")


def test_values_out_of_range_and_of_another_type_are_named() -> None:
    current = TRAINING.head(200).with_columns(
        x=pl.when(pl.int_range(200) < 40).then(pl.lit("many")).otherwise(pl.lit("77"))
    )

    assert broken(current) == (
        "column 'x': 40 of 200 rows (20.00%) are not of type number",
        "column 'x': 160 of 200 rows (80.00%) are above the training range (10)",
    )


def test_a_few_values_beyond_the_sampled_range_are_expected() -> None:
    current = TRAINING.head(300).with_columns(x=pl.when(pl.int_range(300) < 3).then(pl.lit(10.1)).otherwise("x"))

    assert broken(current) == ()
