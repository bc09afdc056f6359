"""Files of runs: a folder that paths from outside never leave, and where only whole files are visible.

A path is refused before it touches the disk when it is absolute, has `..`, a backslash, a NUL or an empty step, and
again after it is resolved, so that a symbolic link inside the folder cannot lead out of it.
"""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from lockgate.errors import InvalidInput, NotFound, StorageFull

_PARTIAL = ".partial-"
_NO_SPACE = 28  # errno.ENOSPC


class ArtifactFile(NamedTuple):
    """One entry of a listing; `path` is relative to the folder, `size_bytes` is None for a directory."""

    path: str
    size_bytes: int | None


class ArtifactFolder:
    """The files below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Replace one file by what `chunks` yields; nothing is visible until all of it is there."""
        with self.replacing(path) as file:
            for chunk in chunks:
                file.write(chunk)

    @contextmanager
    def replacing(self, path: str) -> Iterator[BinaryIO]:
        """A file to write to, that takes the place of `path` when the block ends and is forgotten when it raises."""
        target = self._resolve(path)
        if target == self.root.resolve():
            raise InvalidInput("an artifact needs a name.")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise InvalidInput(f"{path!r} is a folder and cannot be replaced by a file.")
            partial = target.parent / f"{_PARTIAL}{secrets.token_hex(8)}"
            try:
                with partial.open("xb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InvalidInput(f"{path!r} lies below a file, not a folder.") from error
        except OSError as error:
            if error.errno == _NO_SPACE:
                raise StorageFull(f"the disk is full: {path!r} was not stored.") from error
            raise

    def open(self, path: str) -> BinaryIO:
        """Raises NotFound."""
        target = self._resolve(path)
        if not target.is_file():
            raise NotFound(f"there is no artifact {path!r}.")
        return target.open("rb")

    def list(self, path: str = "") -> list[ArtifactFile]:
        """The entries of one folder by name; empty for what is no folder."""
        target = self._resolve(path)
        if not target.is_dir():
            return []
        found = []
        for entry in sorted(target.iterdir()):
            if entry.name.startswith(_PARTIAL):
                continue
            relative = f"{path.rstrip('/')}/{entry.name}" if path else entry.name
            found.append(ArtifactFile(relative, None if entry.is_dir() else entry.stat().st_size))
        return found

    def is_file(self, path: str) -> bool:
        return self._resolve(path).is_file()

    def _resolve(self, path: str) -> Path:
        root = self.root.resolve()
        target = (root / require_safe(path)).resolve()
        if target != root and root not in target.parents:
            raise InvalidInput(f"the path {path!r} leaves its folder.")
        return target


def require_safe(path: str) -> PurePosixPath:
    """A relative path without tricks. Raises InvalidInput."""
    steps = path.rstrip("/").split("/") if path else []
    if any(step in ("", ".", "..") for step in steps) or "\\" in path or "\0" in path or ":" in (steps or [""])[0]:
        raise InvalidInput(f"the path {path!r} is not a plain relative path.")
    return PurePosixPath(*steps)
