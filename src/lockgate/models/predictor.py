"""The seam between a loaded model and its flavor, and the table of flavors."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from lockgate.entities import Scalar
from lockgate.models.mlmodel import MlModel
from lockgate.models.signature import Array, Columns, Signature


class Answer(NamedTuple):
    """What a model says of some rows: a prediction each, and of a classifier the probability of each class."""

    predictions: Array
    scores: Array | None


class Predictor(Protocol):
    """A flavor's model. `takes_matrix` says that `answer` also takes all inputs as one matrix in signature order."""

    takes_matrix: bool
    matrix_dtype: np.dtype[Any] | None  # of that matrix, where the model computes in one of its own
    classes: tuple[Scalar, ...] | None

    def predict(self, inputs: Columns | Array) -> Array: ...

    def predict_proba(self, inputs: Columns | Array) -> Array | None: ...

    def answer(self, inputs: Columns | Array) -> Answer:
        """Both at once, which may be cheaper than one after the other."""
        ...


Load = Callable[[Path, MlModel, Signature], Predictor]

# In the order of preference where a directory has several; a further flavor is a file and a line.
FLAVORS: Mapping[str, str] = {
    "onnx": "lockgate.models.flavors.onnx",
    "sklearn": "lockgate.models.flavors.sklearn",
    "python_function": "lockgate.models.flavors.pyfunc",
}


def flavor_load(name: str) -> Load:
    """The `load` function of a flavor in the table."""
    load: Load = importlib.import_module(FLAVORS[name]).load
    return load
