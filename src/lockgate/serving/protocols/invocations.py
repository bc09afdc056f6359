"""`POST /invocations`: the forms of MLflow's scoring server, which SageMaker's container contract shares.

JSON with one of `dataframe_split`, `dataframe_records`, `instances` (rows) or `inputs` (columns, or rows), or CSV with
a header. The answer is `{"predictions": [...]}`; the prediction's id is in the header `lockgate-prediction-id`.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from lockgate.errors import InvalidInput
from lockgate.models.signature import Array, ColumnSpec, column_from_values, columns_from_rows, require_known
from lockgate.serving.batch import Job, Result
from lockgate.serving.version import Inputs, ServedVersion

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class _Split(msgspec.Struct):
    columns: list[str]
    data: list[list[float]]


class _NumberRequest(msgspec.Struct):
    dataframe_split: _Split | None = None
    instances: list[list[float]] | None = None
    inputs: list[list[float]] | None = None


_numbers = msgspec.json.Decoder(_NumberRequest)
_encode = msgspec.json.Encoder().encode


def parse(version: ServedVersion, body: bytes, content_type: str, *, is_routed: bool) -> Job:
    """A request's rows. Raises InvalidInput naming the field that does not fit."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/csv":
        inputs = _from_csv(version, body)
    elif kind in ("application/json", ""):
        inputs = _numeric(version, body) or _from_json(version, body)
    else:
        raise InvalidInput(f"the content type {kind!r} is not known; send application/json or text/csv.")
    return Job(version, inputs, render, None, is_routed)


def render(version: ServedVersion, result: Result, start: int, job: Job) -> bytes:
    return _encode({"predictions": result.predictions[start : start + job.inputs.height]})


def _numeric(version: ServedVersion, body: bytes) -> Inputs | None:
    """Rows of plain numbers, in one typed decode; None where it takes a closer look."""
    if not version.is_fast_numeric:
        return None
    try:
        request = _numbers.decode(body)
    except msgspec.DecodeError:
        return None
    if request.dataframe_split is not None:
        if tuple(request.dataframe_split.columns) != version.names:
            return None
        rows: list[list[float]] = request.dataframe_split.data
    else:
        rows = request.instances or request.inputs or []
    width = len(version.names)
    return Inputs(len(rows), rows) if rows and all(len(row) == width for row in rows) else None


def _from_json(version: ServedVersion, body: bytes) -> Inputs:
    try:
        request = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}.") from error
    given = [form for form in _FORMS if isinstance(request, dict) and form in request]
    if len(given) != 1:
        raise InvalidInput(f"the body is a JSON object with exactly one of: {', '.join(_FORMS)}.")
    columns = _READERS[given[0]](version, request[given[0]])
    if not len(columns[version.names[0]]):
        raise InvalidInput(f"{given[0]} has no rows.")
    return version.inputs_of(columns)


def _split(version: ServedVersion, value: Any) -> dict[str, Array]:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise InvalidInput('dataframe_split is {"columns": [names], "data": [rows]}.')
    names = value.get("columns", list(version.names))
    if not isinstance(names, list):
        raise InvalidInput("dataframe_split.columns is a list of names.")
    names = [str(name) for name in names]
    require_known(names, version.names)
    rows = value["data"]
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidInput(f"row {i} of dataframe_split.data is a list of {len(names)} values.")
    given = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return _columns(version, given, len(rows))


def _records(version: ServedVersion, value: Any) -> dict[str, Array]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise InvalidInput("dataframe_records is a list with one object a row.")
    return columns_from_rows(value, version.model.signature)


def _instances(version: ServedVersion, value: Any) -> dict[str, Array]:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return columns_from_rows(value, version.model.signature)
    return _by_place(version, value)


def _inputs(version: ServedVersion, value: Any) -> dict[str, Array]:
    if isinstance(value, dict):
        for name, column in value.items():
            if not isinstance(column, list):
                raise InvalidInput(f"inputs.{name} is a list with one value a row.")
        require_known(value, version.names)
        lengths = {len(column) for column in value.values()}
        if len(lengths) > 1:
            raise InvalidInput(f"the columns of inputs have different lengths: {sorted(lengths)}.")
        return _columns(version, value, next(iter(lengths), 0))
    return _instances(version, value)


def _by_place(version: ServedVersion, value: Any) -> dict[str, Array]:
    width = len(version.names)
    if not isinstance(value, list):
        raise InvalidInput("rows are a list of lists or of objects.")
    rows = [row if isinstance(row, list) else [row] for row in value]
    for i, row in enumerate(rows):
        if len(row) != width:
            raise InvalidInput(
                f"row {i} has {len(row)} values, the model takes {width}: {', '.join(version.names[:20])}."
            )
    return _columns(version, {name: [row[i] for row in rows] for i, name in enumerate(version.names)}, len(rows))


_READERS: Mapping[str, Callable[[ServedVersion, Any], dict[str, Array]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def _columns(version: ServedVersion, given: Mapping[str, Sequence[Any]], rows: int) -> dict[str, Array]:
    for spec in version.specs:
        if spec.required and spec.name not in given:
            raise InvalidInput(f"the request lacks the column {spec.name!r}.")
    return {spec.name: column_from_values(given.get(spec.name, [None] * rows), spec) for spec in version.specs}


# -- CSV --------------------------------------------------------------------------------------------------------------


def _from_csv(version: ServedVersion, body: bytes) -> Inputs:
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"the body is not valid CSV in UTF-8: {error}.") from error
    lines = [line for line in lines if line]
    if len(lines) < 2:
        raise InvalidInput("the CSV body has a header and at least one row.")
    names, rows = lines[0], lines[1:]
    require_known(names, version.names)
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise InvalidInput(f"row {i} of the CSV body has {len(row)} values, its header {len(names)}.")
    specs = {spec.name: spec for spec in version.specs}
    given = {name: [_value(row[i], specs[name], at) for at, row in enumerate(rows)] for i, name in enumerate(names)}
    return version.inputs_of(_columns(version, given, len(rows)))


def _value(text: str, spec: ColumnSpec, row: int) -> Any:  # of the type that the column takes
    if text == "":
        return None
    if spec.type in ("string", "datetime"):
        return text
    if spec.type == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number = float(text)
        return int(text) if spec.type in ("integer", "long") and "." not in text else number
    except ValueError:
        raise InvalidInput(f"column {spec.name!r} takes {spec.type}, but row {row} has {text!r}.") from None
