import numpy as np
import polars as pl

from lockgate.data.drift import compare
from lockgate.data.profile import profile_frame
from lockgate.entities import ColumnDrift


def look(reference: pl.DataFrame, current: pl.DataFrame, **changes: float) -> dict[str, ColumnDrift]:
    known = profile_frame(reference)
    options = {"alpha": 0.01, "min_effect": 0.1, **changes}
    return {drift.column: drift for drift in compare(known, profile_frame(current, reference=known), **options)}  # type: ignore[arg-type]


def table(rows: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "x": rng.normal(shift, size=rows),
            "k": rng.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2]),
            "n": rng.poisson(2, rows),
        }
    )


def test_the_same_population_has_not_drifted() -> None:
    assert not any(drift.drift_detected for drift in look(table(5000, 0), table(3000, 1)).values())


def test_a_shift_is_found_and_comes_first() -> None:
    found = look(table(5000, 0), table(2000, 1, shift=0.5))

    assert [name for name, drift in found.items() if drift.drift_detected] == ["x"]
    assert next(iter(found)) == "x"
    assert found["x"].effect > 0.2


def test_a_significant_but_small_shift_is_no_drift() -> None:
    found = look(table(200_000, 0), table(200_000, 1, shift=0.05))["x"]

    assert found.p_adjusted < 1e-6
    assert found.effect < 0.1
    assert not found.drift_detected


def test_a_new_category_and_a_column_that_has_become_empty_have_drifted() -> None:
    current = table(1000, 1).with_columns(k=pl.lit("z"), x=pl.lit(None, dtype=pl.Float64))

    found = look(table(5000, 0), current)

    assert found["k"].drift_detected
    assert found["x"].drift_detected
    assert found["x"].method == "missing"


def test_a_column_where_values_went_missing_has_drifted() -> None:
    current = table(2000, 1).with_columns(x=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise(pl.col("x")))

    found = look(table(5000, 0), current)

    assert found["x"].drift_detected


def test_nothing_to_compare_is_no_drift() -> None:
    assert look(table(100, 0), table(100, 1).clear()) == {}
    assert look(table(0, 0), table(100, 1)) == {}


def test_only_the_columns_asked_for_are_compared() -> None:
    known = profile_frame(table(500, 0))

    found = compare(known, profile_frame(table(500, 1), reference=known), alpha=0.01, min_effect=0.1, columns=["k"])

    assert [drift.column for drift in found] == ["k"]
