"""The identity of a judgement: the same key means the same verdict, so it need not be asked again."""

import shlex
from pathlib import Path

from lockgate.hashing import digest_canonical, digest_file
from lockgate.project import Project, TestsGate

# Raise it when a gate starts to decide differently on the same input.
_RULES = 1


def gate_key(project: Project, *, candidate: str, champion: str | None, root: Path) -> str:
    """Digest of all that a verdict depends on: both models' content, the rows, the gates, the behavioural tests' files.

    A file that a test reads and its command does not name is not seen: name its folder in the command.
    """
    evaluate = project.evaluate
    return digest_canonical(
        "gate",
        {
            "rules": _RULES,
            "task": project.task,
            "candidate": candidate,
            "champion": champion,
            "data": _digest(root / evaluate.data) if evaluate else None,
            "evaluate": evaluate,
            "gates": [[type(gate).__name__, gate] for gate in project.gates],
            "tests": {
                name: _digest(root / name)
                for gate in project.gates
                if isinstance(gate, TestsGate)
                for name in _named_files(gate.tests, root)
            },
        },
    )


def _named_files(command: str, root: Path) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    paths = [word.partition("::")[0] for word in words]  # pytest's tests/test_x.py::test_name
    return [path for path in paths if path not in ("", ".", "/") and (root / path).exists()]


def _digest(path: Path) -> str | None:
    """Of a file, or of a folder's files by name; caches and what is hidden change nothing. None where there is none."""
    if path.is_file():
        return digest_file(path)
    if not path.is_dir():
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _is_noise(file.relative_to(path)))
    return digest_canonical("gate", {file.relative_to(path).as_posix(): digest_file(file) for file in files})


def _is_noise(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)
