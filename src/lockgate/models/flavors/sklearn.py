"""scikit-learn models, pickled or in skops' format, without mlflow.

Three ways to hand a model its rows, chosen once when it is loaded:

- all inputs are numbers and no step asks for columns by name: one numpy matrix, the fastest way. The names that the
  model remembers are then dropped from it, or scikit-learn warns on every call that a matrix has none;
- a step picks columns by name, or inputs are texts or dates: a Polars frame;
- the same, and the model was fitted with pandas: a pandas frame, because its missing texts are NaN and not null.
"""

import importlib.util
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lockgate.entities import Scalar
from lockgate.errors import DataDamaged, InvalidInput
from lockgate.models.flavors.deferred import deferred_import
from lockgate.models.mlmodel import MlModel
from lockgate.models.predictor import Answer
from lockgate.models.signature import Array, Columns, Signature


class SklearnPredictor:
    """A fitted estimator."""

    matrix_dtype: np.dtype[Any] | None = None

    def __init__(self, model: Any, signature: Signature, *, frames: str) -> None:
        self.takes_matrix = signature.matrix_dtype is not None and not needs_names(model)
        self.classes = _classes(model)
        self._signature = signature
        self._frames = frames
        self._order: list[int] | None = None
        wanted = getattr(model, "feature_names_in_", None)
        if wanted is not None:
            self._require_names([str(name) for name in wanted], signature)
        if self.takes_matrix:
            _forget_names(model)
        self._model = model
        self._prepare, self._last = _split(model)

    def _require_names(self, wanted: list[str], signature: Signature) -> None:
        lacking = [name for name in wanted if name not in signature.names]
        if lacking and not signature.is_positional:
            raise InvalidInput(
                f"the model was fitted with the column {lacking[0]!r}, which its signature does not have.",
                hint="make the signature from the columns that the model was fitted on",
            )
        if not lacking and tuple(wanted) != signature.names:
            self._order = [signature.names.index(name) for name in wanted]

    def predict(self, inputs: Columns | Array) -> Array:
        return np.asarray(self._model.predict(self._table(inputs)))

    def predict_proba(self, inputs: Columns | Array) -> Array | None:
        if not hasattr(self._model, "predict_proba"):
            return None
        return _probabilities(self._model.predict_proba(self._table(inputs)))

    def answer(self, inputs: Columns | Array) -> Answer:
        # The steps before the last are done once for both questions.
        table = self._table(inputs)
        if self._prepare is not None:
            table = self._prepare.transform(table)
        predictions = np.asarray(self._last.predict(table))
        has_scores = hasattr(self._last, "predict_proba")
        return Answer(predictions, _probabilities(self._last.predict_proba(table)) if has_scores else None)

    def _table(self, inputs: Columns | Array) -> Any:
        if self.takes_matrix:
            return inputs if self._order is None else np.asarray(inputs)[:, self._order]
        names = self._signature.names
        if self._order is not None:
            names = tuple(names[i] for i in self._order)
        assert not isinstance(inputs, np.ndarray)
        columns = {name: inputs[name] for name in names}
        if self._signature.is_positional:
            return np.column_stack(list(columns.values()))
        if self._frames == "pandas":
            import pandas as pd

            # `infer` would make new texts of another type than the ones that the model was fitted with.
            return pd.DataFrame({name: _for_pandas(array) for name, array in columns.items()})
        import polars as pl

        # Texts come as numpy objects, which Polars cannot cast where one of them is missing; a list it can read.
        texts = {spec.name for spec in self._signature.columns if spec.type == "string"}
        return pl.DataFrame(
            {k: pl.Series(k, v.tolist(), dtype=pl.String) if k in texts else v for k, v in columns.items()},
            nan_to_null=False,
        )


def load(path: Path, model: MlModel, signature: Signature) -> SklearnPredictor:
    """The `sklearn` flavor of a directory, also one that mlflow saved."""
    conf = model.flavors["sklearn"]
    if code := conf.get("code"):
        sys.path.insert(0, str(path / code))
    with deferred_import("pandas"):
        # It only looks whether pandas is there; a model that needs pandas gets it below or on first use.
        import sklearn.utils.fixes  # noqa: F401
    file = path / conf.get("pickled_model", "model.pkl")
    if not file.is_file():
        raise DataDamaged(f"the model file {file} is missing.")
    if conf.get("serialization_format") == "skops":
        import skops.io

        # The directory is one of ours, see `load_model`; skops still refuses what the file does not declare.
        estimator = skops.io.load(file, trusted=conf.get("skops_trusted_types") or [])
    else:
        with file.open("rb") as stream:
            estimator = pickle.load(stream)  # noqa: S301  # only from our own store, see `load_model`
    if not hasattr(estimator, "predict"):
        raise InvalidInput(f"{file} holds a {type(estimator).__name__}, which has no predict method.")
    return SklearnPredictor(estimator, signature, frames=_frames(model))


def _frames(model: MlModel) -> str:
    """The library of the frames that the model was fitted with: ours is noted, mlflow's is pandas."""
    noted = (model.metadata or {}).get("lockgate_frames")
    if noted is None:
        noted = "pandas" if (model.saved_input_example_info or {}).get("pandas_orient") else "polars"
        noted = "pandas" if "mlflow.sklearn" in str(model.flavors.get("python_function")) else noted
    return "pandas" if noted == "pandas" and importlib.util.find_spec("pandas") else "polars"


def _for_pandas(array: Array) -> Array:
    if array.dtype != object:
        return array
    return np.array([np.nan if value is None else value for value in array], dtype=object)


def _classes(model: Any) -> tuple[Scalar, ...] | None:
    classes = getattr(model, "classes_", None)
    return tuple(classes.tolist()) if isinstance(classes, np.ndarray) and classes.ndim == 1 else None


def _probabilities(scores: Any) -> Array | None:
    """None for models with several outputs, whose probabilities are a list of matrices."""
    return scores if isinstance(scores, np.ndarray) and scores.ndim == 2 else None


def _split(model: Any) -> tuple[Any, Any]:
    from sklearn.pipeline import Pipeline

    if type(model) is Pipeline and len(model.steps) > 1:
        return model[:-1], model.steps[-1][1]
    return None, model


def _estimators(value: Any, seen: set[int]) -> Iterator[Any]:
    """Every estimator that a fitted model is made of, itself first."""
    from sklearn.base import BaseEstimator

    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, BaseEstimator):
        yield value
        inner: Any = vars(value).values()
    elif isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    elif isinstance(value, np.ndarray) and value.dtype == object:
        inner = value.flat
    else:
        return
    for item in inner:
        yield from _estimators(item, seen)


def needs_names(model: Any) -> bool:
    """True where a step picks columns by name, asks for frames, or is code that we do not know."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer

    if getattr(model, "feature_names_in_", None) is None:
        return False
    for estimator in _estimators(model, set()):
        if isinstance(estimator, ColumnTransformer | FunctionTransformer):
            return True
        if hasattr(estimator, "_sklearn_output_config") or not type(estimator).__module__.startswith("sklearn."):
            return True
    return False


def _forget_names(model: Any) -> None:
    for estimator in _estimators(model, set()):
        vars(estimator).pop("feature_names_in_", None)
