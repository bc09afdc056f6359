"""ONNX models on ONNX Runtime, one thread a call: a server answers many requests, not one request fast."""

from pathlib import Path
from typing import Any

import numpy as np

from lockgate.entities import Scalar
from lockgate.errors import DataDamaged, InvalidInput
from lockgate.models.mlmodel import MlModel
from lockgate.models.predictor import Answer
from lockgate.models.signature import Array, Columns, Signature

_INPUT_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


class OnnxPredictor:
    """A session with its inputs matched to the signature's columns."""

    def __init__(self, session: Any, signature: Signature, classes: tuple[Scalar, ...] | None) -> None:
        self._session = session
        self._signature = signature
        self._inputs = [(item.name, _dtype(item), len(item.shape)) for item in session.get_inputs()]
        self._outputs = [item.name for item in session.get_outputs()]
        self.classes = classes
        self._one = len(self._inputs) == 1 and self._inputs[0][2] == 2 and self._takes_all(session)
        self.takes_matrix = self._one and signature.matrix_dtype is not None
        self.matrix_dtype = np.dtype(self._inputs[0][1]) if self.takes_matrix else None
        if not self._one:
            _require_columns([name for name, _, _ in self._inputs], signature)

    def _takes_all(self, session: Any) -> bool:
        width = session.get_inputs()[0].shape[1]
        columns = len(self._signature.names)
        return width == columns or (not isinstance(width, int) and self._inputs[0][0] not in self._signature.names)

    def predict(self, inputs: Columns | Array) -> Array:
        return self.answer(inputs).predictions

    def predict_proba(self, inputs: Columns | Array) -> Array | None:
        return self.answer(inputs).scores

    def answer(self, inputs: Columns | Array) -> Answer:
        outputs = self._session.run(None, self._feed(inputs))
        first = _flat(outputs[0])
        scores = _scores(outputs[1:], self.classes)
        if scores is not None and (first.ndim != 1 or len(scores) != len(first)):
            scores = None
        return Answer(first, scores)

    def _feed(self, inputs: Columns | Array) -> dict[str, Array]:
        if self._one:
            name, dtype, _ = self._inputs[0]
            if not isinstance(inputs, np.ndarray):
                inputs = np.column_stack([inputs[column] for column in self._signature.names])
            return {name: inputs.astype(dtype, copy=False)}
        assert not isinstance(inputs, np.ndarray)
        return {name: _shaped(inputs[name], dtype, rank) for name, dtype, rank in self._inputs}


def load(path: Path, model: MlModel, signature: Signature) -> OnnxPredictor:
    """The `onnx` flavor of a directory, also one that mlflow saved."""
    import onnxruntime

    file = path / model.flavors["onnx"].get("data", "model.onnx")
    if not file.is_file():
        raise DataDamaged(f"the model file {file} is missing.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Without the arena an answer's memory is given back when it is done, which a process of many models needs.
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    noted = (model.metadata or {}).get("lockgate_classes")
    return OnnxPredictor(session, signature, tuple(noted) if noted else None)


def _dtype(item: Any) -> str:
    if item.type not in _INPUT_TYPES:
        raise InvalidInput(f"the ONNX input {item.name!r} is a {item.type}; known are: {', '.join(_INPUT_TYPES)}.")
    return _INPUT_TYPES[item.type]


def _require_columns(names: list[str], signature: Signature) -> None:
    lacking = [name for name in names if name not in signature.names]
    if lacking:
        raise InvalidInput(
            f"the ONNX graph takes {lacking[0]!r}, which is no column of the signature: {', '.join(signature.names)}."
        )


def _shaped(array: Array, dtype: str, rank: int) -> Array:
    if dtype == "object":
        array = np.array(["" if value is None else str(value) for value in array], dtype=object)
    array = array.astype(dtype, copy=False)
    return array.reshape(-1, 1) if rank == 2 else array


def _flat(output: Any) -> Array:
    array = np.asarray(output)
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array


def _scores(outputs: list[Any], classes: tuple[Scalar, ...] | None) -> Array | None:
    """Probabilities in any of skl2onnx's forms: an output a class, one matrix, or a mapping a row."""
    if classes is not None and len(outputs) == len(classes) and all(_is_vector(output) for output in outputs):
        together = np.empty((len(outputs[0]), len(outputs)), dtype=outputs[0].dtype)
        for i, output in enumerate(outputs):
            together[:, i] = output  # column_stack does the same with ten times the overhead
        return together
    if len(outputs) != 1:
        return None
    if isinstance(outputs[0], list):
        return np.array([list(row.values()) for row in outputs[0]], dtype="float64") if outputs[0] else None
    array = np.asarray(outputs[0])
    return array if array.ndim == 2 and array.dtype.kind == "f" else None


def _is_vector(output: Any) -> bool:
    return isinstance(output, np.ndarray) and output.ndim == 1
