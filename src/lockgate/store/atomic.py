"""Files that appear whole or not at all: temporary name, write, fsync, rename, fsync of the folder.

A full disk is an operating error with a name (`StorageFull`), wherever it is met.
"""

import ctypes
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lockgate.errors import StorageFull

# EFBIG is the limit of the process or of the file system on one file: for the user the same trouble.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# From this many files on, one flush of the whole file system is cheaper than one a file.
_SYNC_TOGETHER_FROM = 32


@contextmanager
def naming_full_disk(target: Path) -> Iterator[None]:
    """Turns "no space left" in the block into StorageFull that names `target`; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull(
            f"{target} could not be written: {os.strerror(error.errno or 0)}. What was there before is unchanged.",
            hint="free some space there (in a project lockgate gc deletes stored content that nothing refers to; for "
            "temporary files TMPDIR names another folder), then repeat the command",
        ) from error


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace the content of `path`; a reader sees the old or the new whole. Raises StorageFull.

    `durable=False` leaves out fsync: safe against a killed process, not against a power cut.
    """
    with naming_full_disk(path):
        with replacing(path) as temporary:
            write_new(temporary, data, mode=0o666)
            if durable:
                sync_file(temporary)
        if durable:
            sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name for the block to write to, which takes the place of `path` unless the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name(path.name)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_name(name: str) -> str:
    """A name beside `name` that tree scans skip, with our pid so that a later process can tell it is orphaned."""
    return f".lockgate-{os.getpid()}-{secrets.token_hex(4)}-{name}"


def orphans(folder: Path, name: str) -> list[Path]:
    """The temporary files and folders for `name` that killed processes left behind."""
    found = []
    for path in folder.glob(f".lockgate-*-{name}"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not _is_running(int(pid)):
            found.append(path)
    return found


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_new(path: Path, data: bytes | memoryview, *, mode: int) -> None:
    """Create `path`, which must not exist."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def copy_new(source: Path, target: Path, *, mode: int) -> None:
    """Create `target` with the bytes of `source`, copied by the kernel where it can."""
    with source.open("rb") as read:
        fd = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        try:
            _copy(read.fileno(), fd)
        finally:
            os.close(fd)


def _copy(source: int, target: int) -> None:
    with suppress(OSError, AttributeError):
        # Shares blocks where the file system can. It fails at once, before a byte, where it is not supported.
        while os.copy_file_range(source, target, 1 << 30):
            pass
    # Whatever is left, and the errors that matter (a full disk), come up here: the offsets went on with the copy.
    while data := os.read(source, 1 << 20):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]


def sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Make the names in `path` durable."""
    sync_file(path)


def sync_all(paths: Iterable[Path]) -> None:
    """Make files or folders, which all lie on one file system, durable."""
    many = list(paths)
    if len(many) >= _SYNC_TOGETHER_FROM and _sync_file_system(many[0]):
        return
    for path in many:
        sync_file(path)


def _sync_file_system(path: Path) -> bool:
    """syncfs(2), which Python does not offer. False where the system has none or it fails."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return bool(ctypes.CDLL(None, use_errno=True).syncfs(fd) == 0)
    except AttributeError:
        return False
    finally:
        os.close(fd)
