"""The numbers in a stage's metric files."""

from pathlib import Path

from lockgate.errors import LockgateError, StageFailed
from lockgate.pipelines.definition import Node
from lockgate.pipelines.params import flatten, read_values

_SUFFIXES = (".json", ".yaml", ".yml", ".toml")


def read_metrics(root: Path, node: Node) -> dict[str, float]:
    """Every number by dotted name; files of other kinds (tables, pictures) are only kept as outputs.

    Raises StageFailed for a file that is not what its suffix says: the stage wrote it.
    """
    found: dict[str, float] = {}
    for path in node.metrics:
        if not path.endswith(_SUFFIXES):
            continue
        try:
            values = flatten(read_values(root / path))
        except LockgateError as error:
            raise StageFailed(f"stage {node.name} wrote metrics that cannot be read: {error.message}") from error
        for name, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[name] = float(value)
    return found
