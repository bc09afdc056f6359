from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from lockgate.errors import InvalidInput
from lockgate.models.mlmodel import MlModel, read_signature, signature_fields
from lockgate.models.signature import (
    ColumnSpec,
    Signature,
    TensorSpec,
    columns_from_frame,
    columns_from_rows,
    infer_signature,
    matrix_from_frame,
)

FRAME = pl.DataFrame(
    {
        "b": [True, False],
        "i": pl.Series([1, 2], dtype=pl.Int32),
        "l": [1, 2],
        "f": pl.Series([1.5, 2.5], dtype=pl.Float32),
        "d": [1.5, None],
        "s": ["x", None],
        "t": [pd.Timestamp("2026-01-02T03:04:05"), None],
    },
    schema_overrides={"t": pl.Datetime("us")},
)
EXPECTED = (
    ColumnSpec(name="b", type="boolean"),
    ColumnSpec(name="i", type="integer"),
    ColumnSpec(name="l", type="long"),
    ColumnSpec(name="f", type="float"),
    ColumnSpec(name="d", type="double", required=False),
    ColumnSpec(name="s", type="string", required=False),
    ColumnSpec(name="t", type="datetime", required=False),
)


@pytest.mark.parametrize("example", [FRAME, FRAME.to_pandas()], ids=["polars", "pandas"])
def test_types_and_gaps_of_a_frame(example: Any) -> None:
    assert infer_signature(example).inputs == EXPECTED


def test_categories_and_nan() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["a", "b"]), "n": [1.0, np.nan], "o": ["x", None]})
    assert [(spec.type, spec.required) for spec in infer_signature(frame).columns] == [
        ("string", True),
        ("double", False),
        ("string", False),
    ]
    assert infer_signature(pl.DataFrame({"n": [1.0, float("nan")]})).columns[0].required is False


def test_array_is_a_tensor_whose_columns_are_numbered() -> None:
    signature = infer_signature(np.zeros((4, 3), dtype="float32"), np.zeros(4, dtype="int64"))
    assert signature.inputs == (TensorSpec(dtype="float32", shape=(-1, 3)),)
    assert signature.outputs == (TensorSpec(dtype="int64", shape=(-1,)),)
    assert signature.names == ("0", "1", "2")
    assert signature.matrix_dtype == np.float32


def test_columns_that_no_signature_can_say() -> None:
    with pytest.raises(InvalidInput, match="column 'x' has the type List"):
        infer_signature(pl.DataFrame({"x": [[1]]}))
    with pytest.raises(InvalidInput, match="2 dimensions, not 3"):
        infer_signature(np.zeros((1, 2, 3)))
    with pytest.raises(InvalidInput, match="not int"):
        infer_signature(3)


def test_tensors_that_are_no_table_are_refused() -> None:
    with pytest.raises(InvalidInput, match="is no table"):
        _ = Signature(inputs=(TensorSpec(dtype="float32", shape=(-1, 28, 28)),)).columns


def test_mlflow_json_there_and_back() -> None:
    signature = Signature(inputs=EXPECTED, outputs=(TensorSpec(dtype="int64", shape=(-1,)),))
    fields = signature_fields(signature)
    assert fields["outputs"] == '[{"type":"tensor","tensor-spec":{"dtype":"int64","shape":[-1]}}]'
    assert read_signature(Path("m"), MlModel(flavors={}, signature=fields)) == signature


ROW = {"b": True, "i": 1, "l": 2, "f": 0.5, "d": None, "s": "x", "t": "2026-01-02T03:04:05Z"}
SIGNATURE = Signature(inputs=EXPECTED)


def test_rows_become_columns() -> None:
    columns = columns_from_rows([ROW, {**ROW, "d": 3, "s": None, "l": 2.0, "t": None}], SIGNATURE)
    assert {name: array.dtype.str for name, array in columns.items()} == {
        "b": "|b1",
        "i": "<i4",
        "l": "<i8",
        "f": "<f4",
        "d": "<f8",
        "s": "|O",
        "t": "<M8[us]",
    }
    assert columns["l"].tolist() == [2, 2]
    assert np.isnan(columns["d"][0]) and columns["d"][1] == 3
    assert columns["s"].tolist() == ["x", None]
    assert str(columns["t"][0]) == "2026-01-02T03:04:05.000000" and np.isnat(columns["t"][1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"b": 1}, "column 'b' takes boolean, but row 0 has 1"),
        ({"i": 3_000_000_000}, "column 'i' takes integer, but row 0 has 3000000000"),
        ({"l": 1.5}, "column 'l' takes long, but row 0 has 1.5"),
        ({"l": None}, "column 'l' has no value in row 0"),
        ({"l": True}, "column 'l' takes long, but row 0 has True"),
        ({"l": float("inf")}, "column 'l' takes long, but row 0 has inf"),
        ({"d": "1.5"}, "column 'd' takes double, but row 0 has '1.5'"),
        ({"s": 5}, "column 's' takes string, but row 0 has 5"),
        ({"s": ["x" * 100]}, "row 0 has ['xxxxx"),
        ({"t": "yesterday"}, "column 't' takes datetime, but row 0 has 'yesterday'"),
        ({"plan": 1}, "the model has no column 'plan'"),
    ],
)
def test_values_that_do_not_fit_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        columns_from_rows([{**ROW, **change}], SIGNATURE)
    assert words in caught.value.message


def test_optional_columns_may_be_left_out() -> None:
    columns = columns_from_rows([{key: ROW[key] for key in "bilf"}], SIGNATURE)
    assert np.isnan(columns["d"][0]) and columns["s"][0] is None
    with pytest.raises(InvalidInput, match="row 0 lacks the column 'f'"):
        columns_from_rows([{key: ROW[key] for key in "bil"}], SIGNATURE)


def test_frame_becomes_columns() -> None:
    columns = columns_from_frame(FRAME.with_columns(extra=pl.lit(1)), SIGNATURE)
    assert list(columns) == list("bilfdst")
    assert columns["s"].tolist() == ["x", None]
    assert np.isnan(columns["d"][1]) and np.isnat(columns["t"][1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.lit("x").alias("l"), "column 'l' has the type String; the model takes long"),
        (pl.lit(1.5).alias("l"), "column 'l' has fractions; the model takes long"),
        (pl.lit(None, dtype=pl.Int64).alias("l"), "column 'l' has no value in row 0"),
        (pl.lit(float("nan")).alias("f"), "column 'f' has no value in row 0"),
        (pl.lit(1).alias("s"), "column 's' has the type Int32; the model takes string"),
    ],
)
def test_frames_that_do_not_fit_are_refused(change: pl.Expr, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        columns_from_frame(FRAME.with_columns(change), SIGNATURE)
    assert words in caught.value.message


def test_integers_with_gaps_become_floats() -> None:
    signature = Signature(inputs=(ColumnSpec(name="a", type="long", required=False),))
    expected = [1.0, None]
    for columns in (
        columns_from_frame(pl.DataFrame({"a": [1, None]}), signature),
        columns_from_rows([{"a": 1}, {"a": None}], signature),
    ):
        assert [None if np.isnan(value) else value for value in columns["a"]] == expected


def test_all_null_column_of_a_csv_is_an_empty_optional_one() -> None:
    signature = Signature(inputs=(ColumnSpec(name="s", type="string", required=False),))
    assert columns_from_frame(pl.DataFrame({"s": [None, None]}), signature)["s"].tolist() == [None, None]


def test_positional_columns_are_taken_by_place() -> None:
    signature = infer_signature(np.zeros((2, 2)))
    assert columns_from_frame(pl.DataFrame({"x": [1.0], "y": [2.0]}), signature)["1"].tolist() == [2.0]
    with pytest.raises(InvalidInput, match="takes 2 columns, the table has 1"):
        columns_from_frame(pl.DataFrame({"x": [1.0]}), signature)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matrix_holds_the_same_as_the_columns(dtype: str) -> None:
    frame = pl.DataFrame({"y": [1.0, 2.0], "x": pl.Series([0.5, None], dtype=pl.Float32), "z": [1, 2]})
    columns = (ColumnSpec(name="x", type="double", required=False), ColumnSpec(name="y", type="double"))
    for inputs in (columns, (*columns, ColumnSpec(name="z", type="long"))):
        signature = Signature(inputs=inputs)
        matrix = matrix_from_frame(frame, signature, np.dtype(dtype))
        assert matrix.dtype == dtype
        np.testing.assert_array_equal(matrix, np.column_stack(list(columns_from_frame(frame, signature).values())))
    gap = frame.with_columns(y=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(InvalidInput, match="column 'y' has no value in row 0"):
        matrix_from_frame(gap, Signature(inputs=columns), np.dtype(dtype))
