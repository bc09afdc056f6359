from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lockgate.data.frames import read_frame
from lockgate.errors import InvalidInput, NotFound
from lockgate.models.load import LoadedModel, load_model
from lockgate.models.signature import columns_from_frame
from lockgate.serving.score import score_file


def rows(height: int = 1000) -> pl.DataFrame:
    rng = np.random.default_rng(9)
    names = {"id": np.arange(height), **{name: rng.normal(size=height) for name in "cab"}}
    return pl.DataFrame(names).with_columns(pl.format("row {}", "id").alias("note"))


@pytest.fixture
def model(models: Any) -> LoadedModel:
    return load_model(models.state / "saved" / "classifier")


@pytest.mark.parametrize("source", ["in.csv", "in.parquet", "in.arrow"])
@pytest.mark.parametrize("target", ["out.csv", "out.parquet", "out.arrow"])
def test_rows_keep_their_columns_and_order(tmp_path: Path, model: LoadedModel, source: str, target: str) -> None:
    frame = rows()
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "arrow": frame.write_ipc}[source.split(".")[1]](
        tmp_path / source
    )
    scored = score_file(model, tmp_path / source, tmp_path / target, batch_rows=128)

    found = read_frame(tmp_path / target)
    assert (scored.rows, scored.columns) == (1000, ("id", "c", "a", "b", "note", "prediction"))
    assert found["id"].to_list() == list(range(1000))
    assert found["note"].to_list() == frame["note"].to_list()
    expected = model.predict(columns_from_frame(frame, model.signature))
    assert found["prediction"].to_list() == expected.tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source, target])


def test_predictions_alone_with_probabilities(tmp_path: Path, model: LoadedModel) -> None:
    rows().write_parquet(tmp_path / "in.parquet")
    score_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet", only_predictions=True, probabilities=True)
    found = read_frame(tmp_path / "out.parquet")
    assert found.columns == ["prediction", "probability_False", "probability_True"]
    expected = model.predict_proba(columns_from_frame(rows(), model.signature))
    np.testing.assert_allclose(found.select(pl.col("^probability_.*$")).to_numpy(), expected)


def test_model_with_texts_and_gaps(tmp_path: Path, models: Any) -> None:
    frame = pl.DataFrame({"age": [20, 30, 40], "plan": ["basic", "new", "plus"], "spent": [1.0, None, 2.0]})
    frame.write_csv(tmp_path / "in.csv")
    scored = score_file(load_model(models.state / "saved" / "mixed"), tmp_path / "in.csv", tmp_path / "out.parquet")
    assert scored.rows == 3


def test_table_without_rows_gives_a_table_without_rows(tmp_path: Path, model: LoadedModel) -> None:
    rows(0).write_parquet(tmp_path / "in.parquet")
    assert score_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 0
    assert read_frame(tmp_path / "out.parquet").columns == ["id", "c", "a", "b", "note", "prediction"]


def refused(tmp_path: Path, model: LoadedModel, frame: pl.DataFrame, target: str = "out.parquet") -> str:
    frame.write_parquet(tmp_path / "in.parquet")
    (tmp_path / target).write_text("as it was")
    with pytest.raises(InvalidInput) as caught:
        score_file(model, tmp_path / "in.parquet", tmp_path / target, batch_rows=100)
    assert (tmp_path / target).read_text() == "as it was"
    assert len(list(tmp_path.iterdir())) == 2
    return str(caught.value)


def test_missing_column_is_named(tmp_path: Path, model: LoadedModel) -> None:
    assert "lacks the column 'b'" in refused(tmp_path, model, rows().drop("b"))


def test_wrong_type_is_named(tmp_path: Path, model: LoadedModel) -> None:
    assert "column 'b' has the type String" in refused(tmp_path, model, rows().with_columns(b=pl.lit("x")))


def test_missing_value_far_down_is_named_and_nothing_is_written(tmp_path: Path, model: LoadedModel) -> None:
    frame = rows().with_columns(b=pl.when(pl.col("id") == 555).then(None).otherwise(pl.col("b")))
    message = refused(tmp_path, model, frame)
    assert "rows from 500: column 'b' has no value in row 55" in message


def test_column_named_like_the_answer(tmp_path: Path, model: LoadedModel) -> None:
    assert "has a column 'prediction' already" in refused(tmp_path, model, rows().with_columns(prediction=pl.lit(1)))


def test_failing_model(tmp_path: Path, models: Any) -> None:
    moody = load_model(models.state / "saved" / "moody")
    assert "the model failed (ZeroDivisionError" in refused(tmp_path, moody, rows().with_columns(a=pl.lit(1000.0)))


def test_unknown_formats_and_places(tmp_path: Path, model: LoadedModel) -> None:
    rows(3).write_parquet(tmp_path / "in.parquet")
    with pytest.raises(NotFound, match="no data file"):
        score_file(model, tmp_path / "no.parquet", tmp_path / "out.parquet")
    with pytest.raises(InvalidInput, match="no known format"):
        score_file(model, tmp_path / "in.parquet", tmp_path / "out.xlsx")
    with pytest.raises(InvalidInput, match="compressed CSV is read, but not written"):
        score_file(model, tmp_path / "in.parquet", tmp_path / "out.csv.gz")
    with pytest.raises(InvalidInput, match="is the input file itself"):
        score_file(model, tmp_path / "in.parquet", tmp_path / "in.parquet")


def test_regression_has_no_probabilities(tmp_path: Path, models: Any) -> None:
    rows(3).write_parquet(tmp_path / "in.parquet")
    regression = load_model(models.state / "saved" / "regression")
    with pytest.raises(InvalidInput, match="no classifier"):
        score_file(regression, tmp_path / "in.parquet", tmp_path / "out.parquet", probabilities=True)
