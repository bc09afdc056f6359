"""Any other model that mlflow can load, through mlflow itself, where it is installed. Slower and larger than ours."""

from pathlib import Path
from typing import Any

import numpy as np

from lockgate.entities import Scalar
from lockgate.models.mlmodel import MlModel
from lockgate.models.predictor import Answer
from lockgate.models.signature import Array, Columns, Signature


class PyfuncPredictor:
    """`mlflow.pyfunc`'s model, which answers with predictions alone."""

    takes_matrix = False
    matrix_dtype: np.dtype[Any] | None = None
    classes: tuple[Scalar, ...] | None = None

    def __init__(self, model: Any, signature: Signature) -> None:
        self._model = model
        self._signature = signature

    def predict(self, inputs: Columns | Array) -> Array:
        import pandas as pd

        assert not isinstance(inputs, np.ndarray)
        columns = {name: inputs[name] for name in self._signature.names}
        table = np.column_stack(list(columns.values())) if self._signature.is_positional else pd.DataFrame(columns)
        answer = np.asarray(self._model.predict(table))
        return answer.ravel() if answer.ndim == 2 and answer.shape[1] == 1 else answer

    def predict_proba(self, inputs: Columns | Array) -> Array | None:
        return None

    def answer(self, inputs: Columns | Array) -> Answer:
        return Answer(self.predict(inputs), None)


def load(path: Path, model: MlModel, signature: Signature) -> PyfuncPredictor:
    """The `python_function` flavor of a directory."""
    import mlflow.pyfunc

    return PyfuncPredictor(mlflow.pyfunc.load_model(str(path)), signature)
