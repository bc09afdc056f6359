import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lockgate.errors import DataDamaged, InvalidInput, NotFound
from lockgate.models.load import load_model
from lockgate.models.save import save_model
from lockgate.models.signature import columns_from_frame


def cancer(rows: int = 200) -> tuple[pl.DataFrame, np.ndarray]:
    data = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in data.feature_names[:6]]
    return pl.DataFrame(data.data[:rows, :6], schema=names), data.target[:rows]


def customers() -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(1)
    plan = rng.choice(["basic", "plus"], 120)
    frame = pl.DataFrame({"age": rng.integers(18, 80, 120), "plan": plan, "spent": rng.normal(size=120)})
    return frame, np.where((plan == "plus") ^ (rng.random(120) < 0.1), "stays", "leaves")


def column_model(frame: object, y: np.ndarray) -> Pipeline:
    pick = ColumnTransformer([("plan", OneHotEncoder(), ["plan"]), ("rest", StandardScaler(), ["age", "spent"])])
    return make_pipeline(pick, LogisticRegression()).fit(frame, y)


def test_saved_pipeline_predicts_the_same_from_a_matrix_without_warnings(tmp_path: Path) -> None:
    frame, y = cancer()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, y)
    save_model(model, tmp_path / "m", example=frame.head(5))

    loaded = load_model(tmp_path / "m")

    columns = columns_from_frame(frame, loaded.signature)
    assert (loaded.flavor, loaded.classes, loaded.takes_matrix) == ("sklearn", (0, 1), True)
    assert loaded.size_bytes > 1000
    np.testing.assert_array_equal(loaded.predict(columns), model.predict(frame))
    np.testing.assert_allclose(loaded.predict_proba(columns), model.predict_proba(frame))
    answer = loaded.answer_matrix(frame.to_numpy())
    np.testing.assert_array_equal(answer.predictions, model.predict(frame))
    np.testing.assert_allclose(answer.scores, model.predict_proba(frame))


def test_columns_in_another_order_reach_the_model_in_its_own(tmp_path: Path) -> None:
    frame, y = cancer()
    model = LogisticRegression(max_iter=5000).fit(frame, y)
    turned = frame.select(list(reversed(frame.columns)))
    save_model(model, tmp_path / "m", example=turned)

    loaded = load_model(tmp_path / "m")

    np.testing.assert_array_equal(loaded.predict(columns_from_frame(frame, loaded.signature)), model.predict(frame))
    np.testing.assert_array_equal(loaded.answer_matrix(turned.to_numpy()).predictions, model.predict(frame))


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_column_transformer_gets_its_columns_by_name(tmp_path: Path, library: str) -> None:
    frame, y = customers()
    shown = frame if library == "polars" else frame.to_pandas()
    model = column_model(shown, y)
    save_model(model, tmp_path / "m", example=shown)

    loaded = load_model(tmp_path / "m")

    assert not loaded.takes_matrix
    assert loaded.classes == ("leaves", "stays")
    np.testing.assert_array_equal(loaded.predict(columns_from_frame(frame, loaded.signature)), model.predict(shown))


def test_missing_texts_are_what_a_pandas_model_was_fitted_with(tmp_path: Path) -> None:
    frame, y = customers()
    frame = frame.with_columns(pl.when(pl.col("age") > 60).then(None).otherwise(pl.col("plan")).alias("plan"))
    shown = frame.to_pandas()
    model = column_model(shown, y)
    save_model(model, tmp_path / "m", example=shown)

    loaded = load_model(tmp_path / "m")

    assert [spec.required for spec in loaded.signature.columns] == [True, False, True]
    np.testing.assert_array_equal(loaded.predict(columns_from_frame(frame, loaded.signature)), model.predict(shown))


def test_model_fitted_on_an_array_has_columns_by_place(tmp_path: Path) -> None:
    frame, y = cancer()
    model = RandomForestClassifier(n_estimators=5, random_state=0).fit(frame.to_numpy(), y)
    save_model(model, tmp_path / "m", example=frame.to_numpy()[:3])

    loaded = load_model(tmp_path / "m")

    assert loaded.signature.names == ("0", "1", "2", "3", "4", "5")
    np.testing.assert_array_equal(
        loaded.predict(columns_from_frame(frame, loaded.signature)), model.predict(frame.to_numpy())
    )


@pytest.mark.parametrize("kind", ["classifier", "regression", "columns"])
def test_onnx_conversion_predicts_the_same(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxruntime")
    frame, y = customers() if kind == "columns" else cancer()
    if kind == "columns":
        model: object = column_model(frame, y)
    else:
        last = LogisticRegression() if kind == "classifier" else LinearRegression()
        model = make_pipeline(StandardScaler(), last).fit(frame, y)
    save_model(model, tmp_path / "m", example=frame.head(5), flavor="onnx")

    loaded = load_model(tmp_path / "m")

    answer = loaded.answer(columns_from_frame(frame, loaded.signature))
    assert loaded.flavor == "onnx"
    if kind == "regression":
        assert answer.scores is None and loaded.classes is None
        np.testing.assert_allclose(answer.predictions, model.predict(frame), atol=1e-4)  # type: ignore[attr-defined]
    else:
        np.testing.assert_array_equal(answer.predictions, model.predict(frame))  # type: ignore[attr-defined]
        np.testing.assert_allclose(answer.scores, model.predict_proba(frame), atol=1e-4)  # type: ignore[attr-defined]
        assert loaded.classes == (("leaves", "stays") if kind == "columns" else (0, 1))


def test_saving_again_replaces_the_directory_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    frame, y = cancer()
    for rows in (100, 200):
        model = LogisticRegression(max_iter=5000).fit(frame[:rows], y[:rows])
        save_model(model, tmp_path / "m", example=frame.head(2), metadata={"rows": str(rows)})

    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    value = yaml.safe_load((tmp_path / "m" / "MLmodel").read_text())
    assert value["metadata"]["rows"] == "200"


@pytest.mark.parametrize("taken", ["precious", "precious/train.py"])
def test_model_takes_the_place_of_no_other_files(tmp_path: Path, taken: str) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "train.py").write_text("hi")
    frame, y = cancer()
    model = LogisticRegression(max_iter=5000).fit(frame, y)
    with pytest.raises(InvalidInput, match="is there and is no model"):
        save_model(model, tmp_path / taken, example=frame.head(2))
    assert [path.name for path in tmp_path.rglob("*")] == ["precious", "train.py"]
    assert (tmp_path / "precious" / "train.py").read_text() == "hi"


@pytest.mark.parametrize("path", [".", "..", "../here"])
def test_model_takes_the_place_of_no_folder_that_we_work_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    frame, y = cancer()
    model = LogisticRegression(max_iter=5000).fit(frame, y)
    with pytest.raises(InvalidInput, match="which this process works in"):
        save_model(model, Path(path), example=frame.head(2))
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_model_may_take_the_place_of_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    saved(tmp_path)
    assert (tmp_path / "m" / "MLmodel").is_file()


def test_failed_save_leaves_nothing(tmp_path: Path) -> None:
    frame, _ = cancer()
    with pytest.raises(InvalidInput, match="cannot be pickled"):
        save_model(Unpicklable(), tmp_path / "m", example=frame)
    assert list(tmp_path.iterdir()) == []


class Unpicklable:
    def predict(self, rows: object) -> object:
        return rows

    def __reduce__(self) -> str:
        raise TypeError("it holds a lock")


class TestRefusals:
    def test_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="no file MLmodel"):
            load_model(tmp_path)

    def test_model_without_signature(self, tmp_path: Path) -> None:
        saved(tmp_path)
        edit(tmp_path, "signature", None)
        with pytest.raises(InvalidInput, match="no signature") as caught:
            load_model(tmp_path / "m")
        assert caught.value.hint and "input_example" in caught.value.hint

    def test_unknown_flavor(self, tmp_path: Path) -> None:
        saved(tmp_path)
        edit(tmp_path, "flavors", {"prophet": {}})
        with pytest.raises(InvalidInput, match="the flavors prophet; known are"):
            load_model(tmp_path / "m")

    def test_cut_off_pickle_names_the_file(self, tmp_path: Path) -> None:
        saved(tmp_path)
        file = tmp_path / "m" / "model.pkl"
        file.write_bytes(file.read_bytes()[:200])
        with pytest.raises(DataDamaged, match=r"model\.pkl does not load \("):
            load_model(tmp_path / "m")

    def test_missing_pickle(self, tmp_path: Path) -> None:
        saved(tmp_path)
        (tmp_path / "m" / "model.pkl").unlink()
        with pytest.raises(DataDamaged, match=r"model\.pkl is missing"):
            load_model(tmp_path / "m")

    def test_pickle_of_something_else(self, tmp_path: Path) -> None:
        saved(tmp_path)
        (tmp_path / "m" / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(InvalidInput, match="holds a dict, which has no predict method"):
            load_model(tmp_path / "m")

    def test_unreadable_mlmodel(self, tmp_path: Path) -> None:
        saved(tmp_path)
        (tmp_path / "m" / "MLmodel").write_text("flavors: [")
        with pytest.raises(DataDamaged, match="MLmodel cannot be read"):
            load_model(tmp_path / "m")

    def test_signature_that_lacks_a_fitted_column(self, tmp_path: Path) -> None:
        frame, y = cancer()
        model = LogisticRegression(max_iter=5000).fit(frame, y)
        with pytest.raises(InvalidInput, match="fitted with the column 'mean_radius'"):
            save_model(model, tmp_path / "m", example=frame.drop("mean_radius"))

    def test_example_without_rows(self, tmp_path: Path) -> None:
        frame, y = cancer()
        model = LogisticRegression(max_iter=5000).fit(frame, y)
        with pytest.raises(InvalidInput, match="no rows"):
            save_model(model, tmp_path / "m", example=frame.head(0))

    def test_something_that_is_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="a dict is no model"):
            save_model({}, tmp_path / "m", example=np.zeros((1, 2)))


def saved(folder: Path) -> None:
    frame, y = cancer()
    save_model(LogisticRegression(max_iter=5000).fit(frame, y), folder / "m", example=frame.head(3))


def edit(folder: Path, key: str, value: object) -> None:
    path = folder / "m" / "MLmodel"
    content = yaml.safe_load(path.read_text())
    content[key] = value
    path.write_text(yaml.safe_dump(content))


def test_loading_a_model_of_numbers_leaves_pandas_alone(tmp_path: Path) -> None:
    saved(tmp_path)
    script = (
        "import sys; from pathlib import Path; from lockgate.models.load import load_model\n"
        "model = load_model(Path(sys.argv[1]))\n"
        "model.predict({name: __import__('numpy').zeros(2) for name in model.signature.names})\n"
        "print(sorted({'pandas', 'pyarrow', 'polars', 'mlflow'} & set(sys.modules)))\n"
        "import pandas; print(pandas.DataFrame({'a': [1]}).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "m")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "(1, 1)"]


def test_input_example_is_a_request(tmp_path: Path) -> None:
    saved(tmp_path)
    body = msgspec.json.decode((tmp_path / "m" / "serving_input_example.json").read_bytes())
    assert len(body["dataframe_split"]["columns"]) == 6
    assert len(body["dataframe_split"]["data"]) == 3


def test_prediction_makes_no_warnings(tmp_path: Path) -> None:
    saved(tmp_path)
    loaded = load_model(tmp_path / "m")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.predict({name: np.zeros(2) for name in loaded.signature.names})
