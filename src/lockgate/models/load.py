"""A model directory -> a model that predicts.

Unpickling runs code, so `load_model` is only for directories that this installation made or checked out of its store.
"""

from pathlib import Path

import numpy as np

from lockgate.entities import Scalar
from lockgate.errors import DataDamaged, InvalidInput, LockgateError
from lockgate.models.mlmodel import FILE_NAME, MlModel, read_mlmodel, read_signature
from lockgate.models.predictor import FLAVORS, Answer, Predictor, flavor_load
from lockgate.models.signature import Array, Columns, Signature


class LoadedModel:
    """A model in memory. Columns are those of `signature.columns`; further ones are ignored."""

    def __init__(self, *, path: Path, flavor: str, signature: Signature, predictor: Predictor, size_bytes: int) -> None:
        self.path = path
        self.flavor = flavor
        self.signature = signature
        self.size_bytes = size_bytes  # of the directory on disk
        # A pyfunc model is the user's own code, and may keep something between its calls.
        self.is_thread_safe = flavor != "python_function"
        self.takes_matrix = predictor.takes_matrix and signature.matrix_dtype is not None
        self.matrix_dtype = predictor.matrix_dtype or signature.matrix_dtype
        self._predictor = predictor

    @property
    def classes(self) -> tuple[Scalar, ...] | None:
        """The labels of a classifier in the order of `predict_proba`'s columns; None where there are none."""
        return self._predictor.classes

    def predict(self, columns: Columns) -> Array:
        """One prediction a row: labels of a classifier, numbers of a regression."""
        return self._predictor.predict(self._inputs(columns))

    def predict_proba(self, columns: Columns) -> Array | None:
        """Probabilities, rows x classes; None where the model has none."""
        return self._predictor.predict_proba(self._inputs(columns))

    def answer(self, columns: Columns) -> Answer:
        """Predictions and probabilities in one go."""
        return self._predictor.answer(self._inputs(columns))

    def answer_matrix(self, matrix: Array) -> Answer:
        """The same for all inputs as one matrix in signature order, where `takes_matrix` is True."""
        assert self.takes_matrix
        return self._predictor.answer(matrix)

    def predict_matrix(self, matrix: Array) -> Array:
        """`predict` for the same."""
        assert self.takes_matrix
        return self._predictor.predict(matrix)

    def _inputs(self, columns: Columns) -> Columns | Array:
        if not self.takes_matrix:
            return columns
        rows = len(columns[self.signature.names[0]])
        matrix = np.empty((rows, len(self.signature.names)), dtype=self.matrix_dtype)
        for i, name in enumerate(self.signature.names):
            matrix[:, i] = columns[name]
        return matrix


def load_model(path: Path) -> LoadedModel:
    """Load the best flavor that is in the directory and whose library is installed.

    Raises NotFound where there is no model, InvalidInput for one without signature or without a usable flavor, and
    DataDamaged for files that do not load, each naming the file and the reason.
    """
    model = read_mlmodel(path)
    signature = read_signature(path, model)
    _ = signature.columns  # a signature that is no table is refused here
    reasons = []
    for flavor in (name for name in FLAVORS if name in model.flavors):
        try:
            predictor = _load_flavor(flavor, path, model, signature)
        except ModuleNotFoundError as error:
            reasons.append(f"{flavor} needs the Python package {error.name}, which is not installed")
            continue
        return LoadedModel(
            path=path, flavor=flavor, signature=signature, predictor=predictor, size_bytes=directory_size(path)
        )
    if not reasons:
        raise InvalidInput(
            f"the model in {path} has the flavors {', '.join(model.flavors) or 'none'}; "
            f"known are: {', '.join(FLAVORS)}."
        )
    raise InvalidInput(
        f"the model in {path} cannot be loaded: {'; '.join(reasons)}.",
        hint=f"pip install -r {path / 'requirements.txt'}",
    )


def _load_flavor(flavor: str, path: Path, model: MlModel, signature: Signature) -> Predictor:
    load = flavor_load(flavor)
    try:
        return load(path, model, signature)
    except (ModuleNotFoundError, LockgateError):
        raise
    # A pickle can raise anything at all, and each means the same: these files do not load here.
    except Exception as error:
        file = path / str(model.flavors[flavor].get("pickled_model", model.flavors[flavor].get("data", FILE_NAME)))
        lines = str(error).strip().splitlines()
        raise DataDamaged(
            f"the model file {file} does not load ({type(error).__name__}{': ' + lines[0] if lines else ''}).",
            hint=f"it may need other library versions: pip install -r {path / 'requirements.txt'}",
        ) from error


def directory_size(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
