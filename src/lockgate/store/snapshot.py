"""What lies on disk, as an identity: read, never stored."""

import stat
from pathlib import Path

from lockgate.entities import Content
from lockgate.errors import InvalidInput
from lockgate.store.stat_cache import StatCache
from lockgate.store.tree import TreeEntry, canonical, is_executable, iter_files, tree_digest


def snapshot(path: Path, stats: StatCache) -> Content | None:
    """The content of a file or folder; None where there is nothing. Raises InvalidInput for anything else."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if stat.S_ISDIR(found.st_mode):
            return tree_content(snapshot_tree(path, stats))
        if stat.S_ISREG(found.st_mode):
            return Content(kind="file", digest=stats.digest(path, found), size_bytes=found.st_size)
    except FileNotFoundError as error:
        raise InvalidInput(f"{error.filename} disappeared while {path} was read.") from error
    except PermissionError as error:
        raise InvalidInput(f"{error.filename} cannot be read: {error.strerror}.") from error
    raise InvalidInput(f"{path} is neither a file nor a folder.")


def snapshot_tree(path: Path, stats: StatCache) -> tuple[TreeEntry, ...]:
    """The canonical list of the files below a folder."""
    return canonical(
        TreeEntry(
            path=found.path,
            digest=stats.digest(found.source, found.stat),
            size_bytes=found.stat.st_size,
            executable=is_executable(found.stat),
        )
        for found in iter_files(path)
    )


def tree_content(entries: tuple[TreeEntry, ...]) -> Content:
    """The identity of a canonical list of files."""
    return Content(
        kind="tree",
        digest=tree_digest(entries),
        size_bytes=sum(entry.size_bytes for entry in entries),
        files=len(entries),
    )
