"""A trained model -> a model directory that Lockgate and released mlflow load alike."""

import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import numpy as np
import yaml

from lockgate.entities import Scalar
from lockgate.errors import InvalidInput
from lockgate.models.example import example_columns, example_rows, is_pandas
from lockgate.models.load import directory_size, load_model
from lockgate.models.mlmodel import FILE_NAME, signature_fields
from lockgate.models.signature import Signature, infer_signature
from lockgate.store.atomic import naming_full_disk, temporary_name
from lockgate.store.checkout import put_in_place, remove

_EXAMPLE_ROWS = 5


class Written(NamedTuple):
    """What a flavor's writer leaves: its own keys in MLmodel, and the distributions that loading needs."""

    flavor: dict[str, Any]
    loader_module: str
    data: str
    requirements: tuple[str, ...]
    classes: tuple[Scalar, ...] | None


def save_model(
    model: Any,
    path: Path,
    *,
    example: Any,
    flavor: str | None = None,
    signature: Signature | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `model` to the directory `path`, whole or not at all; an earlier model there is replaced, nothing else is.

    `example` is some rows as the model takes them (Polars or pandas frame, or a 2-d array): the signature is inferred
    from it and the saved files are loaded and tried on it. `flavor` is `sklearn` (a pickle) or `onnx` (a scikit-learn
    model is converted); without one, what `model` is. Raises InvalidInput for what cannot be saved, and for a `path`
    that is taken, before anything is written.
    """
    _require_free(path)
    write = _writer(model, flavor)
    if len(example) == 0:
        raise InvalidInput("the example has no rows; give some as the model takes them.")
    signature = signature or infer_signature(example)
    temporary = path.parent / temporary_name(path.name)
    with naming_full_disk(path):
        temporary.mkdir(parents=True)
        try:
            written = write(model, temporary, signature)
            head = {name: array[:_EXAMPLE_ROWS] for name, array in example_columns(example, signature).items()}
            frames = "pandas" if is_pandas(example) else "polars"
            notes: dict[str, Any] = {**(metadata or {}), "lockgate_frames": frames}
            if written.classes is not None:
                notes["lockgate_classes"] = list(written.classes)
            _write_example(temporary, signature, example_rows(head, signature))
            _write_environment(temporary, written.requirements)
            _write_mlmodel(temporary, written, signature, notes)
            # Try what was written: a model that only fails in production is worse than none.
            output = load_model(temporary).predict(head)
            if not signature.outputs:
                signature = Signature(inputs=signature.inputs, outputs=infer_signature(example, output).outputs)
            _write_mlmodel(temporary, written, signature, notes)
            put_in_place(temporary, path)
        finally:
            remove(temporary)


def _require_free(path: Path) -> None:
    """A model takes the place of nothing, of an empty folder, or of a model."""
    if Path.cwd().is_relative_to(path.resolve()):
        raise InvalidInput(
            f"a model cannot take the place of {path}, which this process works in.",
            hint="give it a folder of its own, as build/model",
        )
    if path.exists() and not (path / FILE_NAME).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise InvalidInput(
            f"a model cannot take the place of {path}, which is there and is no model.",
            hint="give it a folder of its own, as build/model, or delete what is there",
        )


def _writer(model: Any, flavor: str | None) -> Callable[[Any, Path, Signature], Written]:
    is_graph = type(model).__name__ == "ModelProto"
    if not is_graph and not hasattr(model, "predict"):
        raise InvalidInput(f"a {type(model).__name__} is no model: it has no predict method and is no ONNX graph.")
    writers = {"sklearn": write_sklearn, "onnx": write_onnx}
    chosen = flavor or ("onnx" if is_graph else "sklearn")
    if chosen not in writers or (is_graph and chosen == "sklearn"):
        raise InvalidInput(
            f"a {type(model).__name__} cannot be saved with the flavor {chosen!r}; there are: {', '.join(writers)}."
        )
    return writers[chosen]


def write_sklearn(model: Any, folder: Path, signature: Signature) -> Written:
    """A cloudpickle, which also takes functions and classes of the training script itself."""
    import cloudpickle
    import sklearn

    try:
        data = cloudpickle.dumps(model)
    # Objects choose how they are pickled, and fail in their own ways.
    except Exception as error:
        raise InvalidInput(f"the {type(model).__name__} cannot be pickled: {error}.") from error
    (folder / "model.pkl").write_bytes(data)
    return Written(
        flavor={
            "pickled_model": "model.pkl",
            "sklearn_version": sklearn.__version__,
            "serialization_format": "cloudpickle",
            "code": None,
        },
        loader_module="mlflow.sklearn",
        data="model.pkl",
        requirements=("cloudpickle", "numpy", "pandas", "scikit-learn"),
        classes=_classes(model),
    )


def write_onnx(model: Any, folder: Path, signature: Signature) -> Written:
    """The graph as it is, or a scikit-learn model converted to one that computes in float32."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise InvalidInput("the flavor onnx needs further packages.", hint="pip install 'lockgate[onnx]'") from error
    graph = model if type(model).__name__ == "ModelProto" else _converted(model, signature)
    onnx.checker.check_model(graph)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return Written(
        flavor={
            "data": "model.onnx",
            "onnx_version": onnx.__version__,
            "providers": ["CPUExecutionProvider"],
            "onnx_session_options": None,
            "code": None,
        },
        loader_module="mlflow.onnx",
        data="model.onnx",
        requirements=("numpy", "onnx", "onnxruntime", "pandas"),
        classes=_classes(model),
    )


def _converted(model: Any, signature: Signature) -> Any:  # an onnx.ModelProto
    try:
        import skl2onnx
        from skl2onnx.common import data_types
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "converting a model to ONNX needs further packages.", hint="pip install 'lockgate[onnx]'"
        ) from error
    from sklearn.base import is_classifier

    from lockgate.models.flavors.sklearn import needs_names

    floats, texts, integers = data_types.FloatTensorType, data_types.StringTensorType, data_types.Int64TensorType
    if signature.matrix_dtype is not None and not needs_names(model):
        types = [("input", floats([None, len(signature.names)]))]
    else:
        kinds = {"string": texts, "integer": integers, "long": integers}
        types = [(spec.name, kinds.get(spec.type, floats)([None, 1])) for spec in signature.columns]
    # One output a class: mlflow makes a frame of a graph's outputs and can take no matrix among them.
    options = {id(model): {"zipmap": "columns"}} if is_classifier(model) else None
    try:
        return skl2onnx.convert_sklearn(model, initial_types=types, options=options)
    # skl2onnx has no common base for "this cannot be converted".
    except Exception as error:
        raise InvalidInput(
            f"the {type(model).__name__} cannot be converted to ONNX: {str(error).splitlines()[0]}.",
            hint="save it with the flavor sklearn",
        ) from error


def _classes(model: Any) -> tuple[Scalar, ...] | None:
    classes = getattr(model, "classes_", None)
    return tuple(classes.tolist()) if isinstance(classes, np.ndarray) and classes.ndim == 1 else None


# -- files ------------------------------------------------------------------------------------------------------------


def _write_mlmodel(folder: Path, written: Written, signature: Signature, metadata: Mapping[str, Any]) -> None:
    name = "onnx" if written.loader_module == "mlflow.onnx" else "sklearn"
    data_key = "data" if name == "onnx" else "model_path"
    python_function = {
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "loader_module": written.loader_module,
        data_key: written.data,
        "python_version": platform.python_version(),
    }
    if name == "sklearn":
        python_function["predict_fn"] = "predict"
    positional = signature.is_positional
    example = {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        **({"type": "ndarray"} if positional else {"type": "dataframe", "pandas_orient": "split"}),
    }
    value = {
        "flavors": {"python_function": python_function, name: written.flavor},
        "metadata": dict(metadata),
        "mlflow_version": _version("mlflow-skinny") or _version("mlflow") or "3.0.0",
        "model_size_bytes": directory_size(folder),
        "model_uuid": uuid4().hex,
        "saved_input_example_info": example,
        "signature": signature_fields(signature),
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    (folder / FILE_NAME).write_text(yaml.safe_dump(value, allow_unicode=True))


def _write_example(folder: Path, signature: Signature, rows: list[list[Scalar]]) -> None:
    if signature.is_positional:
        example: Any = rows
        serving = {"inputs": rows}
    else:
        example = {"columns": signature.names, "data": rows}
        serving = {"dataframe_split": example}
    (folder / "input_example.json").write_bytes(msgspec.json.encode(example))
    (folder / "serving_input_example.json").write_bytes(msgspec.json.format(msgspec.json.encode(serving), indent=2))


def _write_environment(folder: Path, names: tuple[str, ...]) -> None:
    """The three forms in which mlflow's tools look for what a model needs."""
    pinned = [f"{name}=={found}" if (found := _version(name)) else name for name in names]
    mlflow = _version("mlflow") or _version("mlflow-skinny")
    lines = [f"mlflow=={mlflow}" if mlflow else "mlflow", *pinned]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
    python = platform.python_version()
    environment = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False))
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": lines}],
        "name": "mlflow-env",
    }
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda))


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
