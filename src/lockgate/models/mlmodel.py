"""The file `MLmodel` at the top of a model directory, as MLflow writes and reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from lockgate.errors import DataDamaged, InvalidInput, NotFound
from lockgate.models.signature import ColumnSpec, Signature, Spec, TensorSpec

FILE_NAME = "MLmodel"

_HOW_TO_SIGN = (
    "pass input_example= to mlflow's log_model, or data= to lockgate.log_model: the signature is inferred from it"
)


class MlModel(msgspec.Struct, frozen=True, kw_only=True):
    """What we need of the file. `flavors` holds each flavor's own keys."""

    flavors: dict[str, dict[str, Any]]
    signature: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    saved_input_example_info: dict[str, Any] | None = None


def read_mlmodel(folder: Path) -> MlModel:
    """Raises NotFound where the folder holds no model, DataDamaged where the file cannot be understood."""
    path = folder / FILE_NAME
    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()), MlModel)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"{folder} is no model directory: it has no file {FILE_NAME}.",
            hint="mlflow.sklearn.save_model, lockgate.log_model or lockgate's save_model write one",
        ) from None
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise DataDamaged(f"{path} cannot be read: {str(error).splitlines()[0]}.") from error


def read_signature(folder: Path, model: MlModel) -> Signature:
    """Raises InvalidInput where there is none, DataDamaged where it cannot be understood."""
    if model.signature is None or model.signature.get("inputs") is None:
        raise InvalidInput(f"the model in {folder} has no signature, so nothing can be checked.", hint=_HOW_TO_SIGN)
    try:
        inputs, outputs = (_specs(model.signature.get(key)) for key in ("inputs", "outputs"))
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise DataDamaged(f"the signature in {folder / FILE_NAME} cannot be read: {error}.") from error
    return Signature(inputs=inputs, outputs=outputs)


def signature_fields(signature: Signature) -> dict[str, str | None]:
    """The value of `signature:` in the file: JSON in YAML is MLflow's own form."""
    outputs = _json(signature.outputs) if signature.outputs else None
    return {"inputs": _json(signature.inputs), "outputs": outputs, "params": None}


def _specs(text: str | None) -> tuple[Spec, ...]:
    return tuple(_spec(item) for item in msgspec.json.decode(text)) if text else ()


def _spec(item: Mapping[str, Any]) -> Spec:
    if item["type"] != "tensor":
        required = item.get("required", not item.get("optional", False))
        fields = {"name": item.get("name", "0"), "type": item["type"], "required": required}
        return msgspec.convert(fields, ColumnSpec)
    spec = item["tensor-spec"]
    fields = {"name": item.get("name"), "dtype": spec["dtype"], "shape": spec["shape"]}
    return msgspec.convert(fields, TensorSpec)


def _json(specs: tuple[Spec, ...]) -> str:
    items: list[dict[str, Any]] = []
    for spec in specs:
        if isinstance(spec, ColumnSpec):
            items.append({"type": spec.type, "name": spec.name, "required": spec.required})
        else:
            name = {} if spec.name is None else {"name": spec.name}
            items.append({"type": "tensor", "tensor-spec": {"dtype": spec.dtype, "shape": spec.shape}, **name})
    return msgspec.json.encode(items).decode()
