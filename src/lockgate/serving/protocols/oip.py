"""The Open Inference Protocol, version 2, over REST: `POST /v2/models/{model}/infer`.

A request has one tensor a column (shape [n] or [n, 1], named like the column), or one tensor of shape [n, columns] with
all of them in the signature's order. The answer has the tensor `predict` and, from a classifier, `probabilities`. Its
`id` is the request's, or the prediction's where the request has none; `parameters.prediction_id` is always ours.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from lockgate.errors import InvalidInput
from lockgate.models.signature import column_from_values, require_known
from lockgate.serving.batch import Job, Result
from lockgate.serving.version import Inputs, ServedVersion

DATATYPES: Mapping[str, str] = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
    "datetime": "BYTES",
}


class _NumberTensor(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[float]


class _NumberRequest(msgspec.Struct):
    inputs: list[_NumberTensor]
    id: str | None = None


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]  # numbers, texts or nested lists of them; checked against the signature


class _Request(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None


_numbers = msgspec.json.Decoder(_NumberRequest)
_any = msgspec.json.Decoder(_Request)
_encode = msgspec.json.Encoder().encode


def parse(version: ServedVersion, body: bytes, *, is_routed: bool) -> Job:
    """A request's rows. Raises InvalidInput naming the field that does not fit."""
    if version.is_fast_numeric:
        try:
            request = _numbers.decode(body)
        except msgspec.DecodeError:
            pass  # the careful way below either takes it or says what is wrong
        else:
            width = len(version.names)
            tensor = request.inputs[0] if len(request.inputs) == 1 else None
            if tensor is not None and len(tensor.shape) == 2 and tensor.shape[1] == width > 1:
                count = tensor.shape[0]
                if len(tensor.data) == count * width > 0:
                    data = tensor.data
                    rows = [data] if count == 1 else [data[i : i + width] for i in range(0, len(data), width)]
                    return Job(version, Inputs(count, rows), render, request.id, is_routed)
    try:
        careful = _any.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f"the body is no inference request: {error}.",
            hint="send JSON; the binary tensor extension is not supported",
        ) from error
    return Job(version, _inputs(version, careful), render, careful.id, is_routed)


def _inputs(version: ServedVersion, request: _Request) -> Inputs:
    names = version.names
    single = request.inputs[0] if len(request.inputs) == 1 else None
    if single is not None and len(single.shape) == 2 and single.shape[1] == len(names) != 1:
        flat = _flat(single)
        values = {name: flat[i :: len(names)] for i, name in enumerate(names)}
    elif single is not None and len(names) == 1 and single.name not in names:
        values = {names[0]: _flat(single)}
    else:
        if single is not None and single.name not in names and len(single.shape) == 2:
            raise InvalidInput(
                f"the tensor {single.name!r} has {single.shape[1]} columns, the model takes {len(names)}: "
                f"{', '.join(names[:20])}."
            )
        values = _by_column(version, request)
    lengths = {len(column) for column in values.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise InvalidInput(f"tensors have different numbers of rows or none: {sorted(lengths)}.")
    return version.inputs_of({spec.name: column_from_values(values[spec.name], spec) for spec in version.specs})


def _by_column(version: ServedVersion, request: _Request) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        require_known([tensor.name], version.names)
        if tensor.name in values:
            raise InvalidInput(f"the tensor {tensor.name!r} is given twice.")
        if len(tensor.shape) not in (1, 2) or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
            raise InvalidInput(f"the tensor {tensor.name!r} is one column, of shape [n] or [n, 1], not {tensor.shape}.")
        values[tensor.name] = _flat(tensor)
    count = max(map(len, values.values()), default=0)
    for spec in version.specs:
        if spec.name not in values:
            if spec.required:
                raise InvalidInput(f"the request lacks the tensor {spec.name!r}.")
            values[spec.name] = [None] * count
    return values


def _flat(tensor: _Tensor) -> list[Any]:
    data = tensor.data
    while data and isinstance(data[0], list):
        if not all(isinstance(part, list) for part in data):
            raise InvalidInput(f"the data of tensor {tensor.name!r} mixes values and lists.")
        data = [value for part in data for value in part]
    expected = 1
    for length in tensor.shape:
        expected *= length
    if len(data) != expected:
        raise InvalidInput(
            f"the tensor {tensor.name!r} of shape {tensor.shape} needs {expected} values, not {len(data)}."
        )
    return data


def render(version: ServedVersion, result: Result, start: int, job: Job) -> bytes:
    """The response; its envelope is text made once a version, only values are encoded."""
    count = job.inputs.height
    end = start + count
    shown = f'"{job.id}"' if job.client_id is None else _encode(job.client_id).decode()
    predictions = result.predictions[start:end]
    first = predictions[0]
    shape = f"[{count},{len(first)}]" if isinstance(first, list) else f"[{count}]"
    values = [value for row in predictions for value in row] if isinstance(first, list) else predictions
    text = (
        f'{version.oip_head}{shown},"parameters":{{"prediction_id":"{job.id}"}},"outputs":[{{"name":"predict",'
        f'"datatype":"{result.datatype}","shape":{shape},"data":{_encode(values).decode()}}}'
    )
    if result.scores is not None:
        width = len(result.scores[start])
        scores = result.scores[start] if count == 1 else [value for row in result.scores[start:end] for value in row]
        text += (
            f',{{"name":"probabilities","datatype":"FP64","shape":[{count},{width}],"data":{_encode(scores).decode()}}}'
        )
    return (text + "]}").encode()


def metadata(version: ServedVersion, versions: list[str]) -> dict[str, Any]:
    """`GET /v2/models/{model}`."""
    if version.model.signature.is_positional:
        spec = version.specs[0]
        inputs = [{"name": "input", "datatype": DATATYPES[spec.type], "shape": [-1, len(version.specs)]}]
    else:
        inputs = [{"name": spec.name, "datatype": DATATYPES[spec.type], "shape": [-1]} for spec in version.specs]
    outputs: list[dict[str, Any]] = [{"name": "predict", "datatype": _output_datatype(version), "shape": [-1]}]
    if version.model.classes is not None:
        outputs.append({"name": "probabilities", "datatype": "FP64", "shape": [-1, len(version.model.classes)]})
    return {
        "name": version.model_name,
        "versions": versions,
        "platform": f"lockgate_{version.model.flavor}",
        "inputs": inputs,
        "outputs": outputs,
    }


def _output_datatype(version: ServedVersion) -> str:
    from lockgate.models.signature import TensorSpec

    spec = next(iter(version.model.signature.outputs), None)
    if isinstance(spec, TensorSpec):
        known = {"int64": "INT64", "int32": "INT32", "float64": "FP64", "float32": "FP32", "bool": "BOOL"}
        return known.get(spec.dtype, "BYTES")
    return DATATYPES[spec.type] if spec is not None else "FP64"
