"""Model directories that we write, loaded by released mlflow, and the other way round."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lockgate.errors import InvalidInput
from lockgate.models.load import load_model
from lockgate.models.save import save_model
from lockgate.models.signature import Signature, columns_from_frame, infer_signature

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mlflow warns of its own type hints when it is imported
    mlflow = pytest.importorskip("mlflow.pyfunc") and pytest.importorskip("mlflow")
    pytest.importorskip("mlflow.sklearn")
pd = pytest.importorskip("pandas")

pytestmark = [
    # mlflow warns of pickles and of integer columns on purpose, and uses what pandas 3 deprecates.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def table() -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"age": rng.normal(40, 10, 80), "plan": rng.choice(["basic", "plus"], 80), "spent": rng.normal(size=80)}
    )
    return frame, (frame["age"] > 40).to_numpy().astype(int)


def pipeline(frame: Any, y: np.ndarray, *, columns: bool) -> Pipeline:
    if not columns:
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, y)
    pick = ColumnTransformer([("plan", OneHotEncoder(), ["plan"]), ("rest", StandardScaler(), ["age", "spent"])])
    return make_pipeline(pick, LogisticRegression()).fit(frame, y)


# mlflow hands a graph with an input a column arrays of one dimension, which no graph of skl2onnx takes.
@pytest.mark.parametrize(("flavor", "columns"), [("sklearn", False), ("sklearn", True), ("onnx", False)])
def test_mlflow_loads_what_we_save(tmp_path: Path, flavor: str, columns: bool) -> None:
    if flavor == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("skl2onnx")
    frame, y = table()
    frame = frame if columns else frame[["age", "spent"]]
    model = pipeline(frame, y, columns=columns)
    save_model(model, tmp_path / "m", example=frame.head(5), flavor=flavor)

    loaded = mlflow.pyfunc.load_model(str(tmp_path / "m"))

    answer = loaded.predict(frame)
    if flavor == "onnx":
        np.testing.assert_allclose(answer.iloc[:, 1:], model.predict_proba(frame), atol=1e-5)
        answer = answer.iloc[:, 0]
    np.testing.assert_array_equal(np.asarray(answer).ravel(), model.predict(frame))
    assert loaded.metadata.signature.inputs.input_names() == list(frame.columns)


def test_mlflow_loads_a_model_of_an_array(tmp_path: Path) -> None:
    frame, y = table()
    rows = frame[["age", "spent"]].to_numpy()
    save_model(LogisticRegression().fit(rows, y), tmp_path / "m", example=rows[:3])
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    assert loaded.predict(rows).shape == (80,)
    example = mlflow.models.Model.load(str(tmp_path / "m")).load_input_example(str(tmp_path / "m"))
    np.testing.assert_array_equal(example, rows[:3])


def test_mlflow_reads_our_input_example_back(tmp_path: Path) -> None:
    frame, y = table()
    save_model(pipeline(frame, y, columns=True), tmp_path / "m", example=frame)
    example = mlflow.models.Model.load(str(tmp_path / "m")).load_input_example(str(tmp_path / "m"))
    pd.testing.assert_frame_equal(example, frame.head(5), check_dtype=False)


@pytest.mark.parametrize("form", ["cloudpickle", "pickle", "skops"])
def test_we_load_what_mlflow_saves(tmp_path: Path, form: str) -> None:
    if form == "skops":
        pytest.importorskip("skops")
    frame, y = table()
    model = pipeline(frame, y, columns=True)
    mlflow.sklearn.save_model(
        model,
        tmp_path / "m",
        serialization_format=form,
        input_example=frame.head(3),
        pip_requirements=["scikit-learn"],
    )

    loaded = load_model(tmp_path / "m")

    assert (loaded.flavor, loaded.classes) == ("sklearn", (0, 1))
    columns = columns_from_frame(pl.from_pandas(frame), loaded.signature)
    np.testing.assert_array_equal(loaded.predict(columns), model.predict(frame))


def test_mlflow_model_without_example_has_no_signature(tmp_path: Path) -> None:
    frame, y = table()
    model = pipeline(frame, y, columns=True)
    mlflow.sklearn.save_model(
        model, tmp_path / "m", serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
    )
    with pytest.raises(InvalidInput, match="has no signature"):
        load_model(tmp_path / "m")


def test_any_other_model_is_loaded_through_mlflow(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow asks for type hints when the class is made

        class Doubles(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow has no types
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow judges types
                return model_input["x"] * 2

    example = pd.DataFrame({"x": [1.0, 2.0]})
    mlflow.pyfunc.save_model(tmp_path / "m", python_model=Doubles(), input_example=example, pip_requirements=["pandas"])
    loaded = load_model(tmp_path / "m")
    assert (loaded.flavor, loaded.classes, loaded.takes_matrix) == ("python_function", None, False)
    assert loaded.predict({"x": np.array([1.0, 4.0])}).tolist() == [2.0, 8.0]
    assert loaded.predict_proba({"x": np.array([1.0])}) is None


def test_signatures_are_inferred_alike(tmp_path: Path) -> None:
    frame, _ = table()
    frame["whole"] = np.arange(80)
    frame["yes"] = True
    theirs = mlflow.models.infer_signature(frame, np.zeros(80)).inputs.to_dict()
    ours = [{"type": s.type, "name": s.name, "required": s.required} for s in _columns(infer_signature(frame))]
    assert ours == theirs


def _columns(signature: Signature) -> Any:
    return signature.columns
