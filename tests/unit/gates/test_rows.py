import polars as pl
import pytest

from lockgate.errors import InvalidInput, NotFound
from lockgate.gates.rows import read_rows
from lockgate.project import Evaluate

BINARY, REGRESSION = "binary_classification", "regression"


def read(tmp_path, frame: pl.DataFrame, task: str = BINARY):
    return read_rows(tmp_path, Evaluate(data="t.parquet", label="y"), task, read=lambda _: frame)


def test_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(NotFound, match=r"t\.parquet"):
        read_rows(tmp_path, Evaluate(data="t.parquet", label="y"), BINARY)


def test_missing_label_column_names_those_there_are(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="no label column 'y'; it has: a, b"):
        read(tmp_path, pl.DataFrame({"a": [1], "b": [2]}))


def test_rows_without_a_label_are_left_out_and_counted(tmp_path) -> None:
    found = read(tmp_path, pl.DataFrame({"x": [1, 2, 3], "y": [0, None, 1]}))
    assert (found.frame.height, found.without_label, found.truth.tolist()) == (2, 1, [0, 1])


def test_nan_labels_of_a_regression_are_left_out(tmp_path) -> None:
    found = read(tmp_path, pl.DataFrame({"x": [1, 2, 3], "y": [0.5, float("nan"), 1.5]}), REGRESSION)
    assert found.truth.tolist() == [0.5, 1.5] and found.without_label == 1


def test_whole_floats_are_integers_again(tmp_path) -> None:
    assert read(tmp_path, pl.DataFrame({"x": [1, 2], "y": [0.0, 1.0]})).truth.dtype.kind == "i"


@pytest.mark.parametrize("values", [["no", "yes"], [False, True], [3, 7]])
def test_labels_keep_their_type(tmp_path, values) -> None:
    assert read(tmp_path, pl.DataFrame({"x": [1, 2], "y": values})).truth.tolist() == values


def test_three_labels_are_no_binary_task(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="'y' has 3 values"):
        read(tmp_path, pl.DataFrame({"x": [1, 2, 3], "y": [0, 1, 2]}))


def test_text_is_no_number(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="must be a number, not String"):
        read(tmp_path, pl.DataFrame({"x": [1], "y": ["a"]}), REGRESSION)
