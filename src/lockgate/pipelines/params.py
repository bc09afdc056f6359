"""Parameters: values with dotted names from YAML, JSON or TOML files, params.yaml where no other is named."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from lockgate.documents import read_document
from lockgate.entities import Scalar
from lockgate.errors import InvalidInput, NotFound
from lockgate.pipelines.definition import PARAMS_FILE, Node

Value = Any  # whatever YAML can say: scalars and lists of them, nested


class ParamsFiles:
    """The parameter files of a project, each read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, dict[str, Value]] = {}

    def values(self, path: str) -> dict[str, Value]:
        """All parameters of a file by dotted name. Raises NotFound, InvalidInput."""
        if path not in self._files:
            self._files[path] = flatten(read_values(self._root / path))
        return self._files[path]

    def of_stage(self, node: Node) -> dict[str, Value]:
        """The parameters that a stage reads; those of another file than params.yaml are named `file:name`.

        Raises InvalidInput for a parameter that the file does not have.
        """
        found: dict[str, Value] = {}
        for use in node.params:
            try:
                values = self.values(use.path)
            except NotFound:
                raise InvalidInput(f"stage {node.name} needs parameters of {use.path}, which does not exist.") from None
            prefix = "" if use.path == PARAMS_FILE else f"{use.path}:"
            for name in values if use.names is None else _expand(node.name, use.path, use.names, values):
                found[prefix + name] = values[name]
        return found


def read_values(path: Path) -> Value:
    """A file's values by its suffix. Raises NotFound, or InvalidInput with the line."""
    if path.suffix not in (".json", ".toml"):
        return read_document(path).value
    try:
        data = path.read_bytes()
        return msgspec.json.decode(data) if path.suffix == ".json" else msgspec.toml.decode(data)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}.") from error


def flatten(value: Value, prefix: str = "") -> dict[str, Value]:
    """Nested mappings as one mapping with dotted names; lists stay values, dates become text."""
    if isinstance(value, Mapping):
        found: dict[str, Value] = {}
        for key, inner in value.items():
            found.update(flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
        return found
    return {prefix: msgspec.to_builtins(value)} if prefix else {}


def scalar(value: Value) -> Scalar:
    """A value as one that records and tags can hold."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return msgspec.json.encode(value).decode()


def _expand(stage: str, path: str, names: Iterable[str], values: Mapping[str, Value]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        matching = [known for known in values if known == name or known.startswith(f"{name}.")]
        if not matching:
            sections = {known.rsplit(".", i)[0] for known in values for i in range(known.count(".") + 1)}
            nearest = get_close_matches(name, sections, n=1)
            raise InvalidInput(
                f"stage {stage} needs the parameter {name!r}, which {path} does not have.",
                hint=f"did you mean {nearest[0]!r}?" if nearest else f"add it to {path}",
            )
        found.update(dict.fromkeys(matching))
    return list(found)
