"""lockgate.yaml while `lockgate up` runs: what is in force, and what becomes of what somebody saves meanwhile.

    saved text --as last seen--> nothing to do
               --broken, or asks for other processes--> said once; what is in force stays in force
               --otherwise--> in force as a whole, from this look on

What is in force lies as a copy in the project's state, and every child of `lockgate up` reads that copy. So a file that
is half written, or broken for an hour, neither stops a look of the monitor nor keeps a replica that died from coming
back, and parent and children never work by two files. The model, the environments and their ports are the processes
that run: they change with the next start of `lockgate up`.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from lockgate.documents import parse_document
from lockgate.errors import InvalidInput, LockgateError, StorageFull
from lockgate.project import FILE_NAME, STATE_FOLDER, Folder, Project, decode_project
from lockgate.store.atomic import write_atomically

log = logging.getLogger("lockgate.up")


def in_force(root: Path) -> Path:
    """Where the copy lies that children of the `lockgate up` of `root` read."""
    return root / STATE_FOLDER / "up.yaml"


def put_in_force(root: Path) -> Folder:
    """The project as it is saved now, for a `lockgate up` that starts. Raises InvalidInput naming the line."""
    path = root / FILE_NAME
    saved = _read(path)
    project = _decode(path, saved)
    write_atomically(in_force(root), saved)
    return Folder(root, project)


class ProjectFile:
    """Notices what is saved, and remembers it, so that a broken file is told of once. After `put_in_force`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen = _read(in_force(root))

    def look(self, present: Project, prepare: Callable[[Project], None]) -> Project | None:
        """The project that is in force from now on; None where that is still `present`.

        `prepare` does what the new one needs beforehand, and raises InvalidInput where that cannot be done.
        """
        path = self._root / FILE_NAME
        saved = _read(path)
        if saved == self._seen:
            return None
        try:
            project = _decode(path, saved)
            _require_same_processes(path, present, project)
            prepare(project)
            write_atomically(in_force(self._root), saved)
        except StorageFull:
            raise  # not the file's fault: the next look tries again
        except LockgateError as error:
            log.error("what was in force stays in force: %s", error)
            self._seen = saved
            return None
        log.info("%s has changed and is in force", path)
        self._seen = saved
        return project


def _read(path: Path) -> bytes:
    """Empty where there is nothing to read, which is no project either."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _decode(path: Path, saved: bytes) -> Project:
    if not saved:
        raise InvalidInput(f"{path} is empty, or cannot be read.")
    try:
        return decode_project(parse_document(path, saved.decode()))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text: byte {error.start}.") from error


def _require_same_processes(path: Path, present: Project, project: Project) -> None:
    if present.model != project.model:
        raise InvalidInput(f"{path} names another model, {project.model}.", hint="start `lockgate up` anew")
    if _served(present) != _served(project):
        raise InvalidInput(f"{path} has other environments, or other ports of theirs.", hint="start `lockgate up` anew")


def _served(project: Project) -> list[tuple[str, int | None]]:
    return [(name, environment.port) for name, environment in project.environments.items()]
