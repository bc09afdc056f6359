"""Artifacts in a folder of this machine.

A path is refused before it touches the disk (`paths.require_safe`) and again after it is resolved, so that a symbolic
link inside the folder cannot lead out of it. An upload grows in `.partial/`, on the same file system, and is renamed
when it is whole: readers see the old or the new file, and what a killed server leaves lies in one place.
"""

import base64
import errno
import heapq
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from lockgate.errors import Conflict, InvalidInput, NotFound, StorageFull, Unavailable
from lockgate.server.artifacts.paths import (
    PARTIAL_FOLDER,
    is_shown,
    require_file,
    require_free,
    require_name,
    require_safe,
)
from lockgate.server.artifacts.store import ArtifactFile, ArtifactInfo, ArtifactPage, IsFolder, OpenArtifact

# The digest lies beside the bytes, so that it moves and vanishes with them.
_DIGEST_ATTRIBUTE = "user.lockgate.blake3"
# EFBIG is the limit of the process or of the file system on one file: for the user the same trouble.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ArtifactFolder:
    """`store.ArtifactStore` below `root`, which is made when the first file comes."""

    direct = None

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def partial(self) -> Path:
        return self.root / PARTIAL_FOLDER

    def begin(self, path: str, *, size_bytes: int | None = None, digest: str | None = None) -> "FileUpload":
        """Raises InvalidInput for a folder, and for what lies below a file."""
        require_name(path)
        target = self._resolve(path)
        with _naming(path):
            # Said now and not after the last byte; the rename would fail as well.
            nearest = next(parent for parent in target.parents if parent.exists())
            require_free(path, is_folder=target.is_dir(), is_below_file=not nearest.is_dir())
            self.partial.mkdir(parents=True, exist_ok=True)
            return FileUpload(path, target, self.partial / secrets.token_hex(8))

    def open(self, path: str) -> OpenArtifact:
        target = self._resolve(path)
        with _naming(path):
            if target.is_dir():
                raise IsFolder(path)
            require_file(path)
            if not target.is_file():
                raise NotFound(f"there is no artifact {path!r}.")
            file = target.open("rb")
        return OpenArtifact(_info(file.fileno()), file)

    def list(self, path: str = "", *, limit: int, token: str = "") -> ArtifactPage:
        """By name. Memory is bounded by the page; the folder is read once a page, and only the page is measured."""
        after = _name_of(token)
        folder = require_safe(path)
        target = self._resolve(path)
        with _naming(path):
            try:
                with os.scandir(target) as entries:
                    found = heapq.nsmallest(
                        limit + 1, (e.name for e in entries if e.name > after and self._is_shown(folder, e))
                    )
            except (FileNotFoundError, NotADirectoryError):
                return ArtifactPage((), "")
            files = tuple(_measured(target / name, str(folder / name)) for name in found[:limit])
        return ArtifactPage(tuple(filter(None, files)), _token_of(found[limit - 1]) if len(found) > limit else "")

    def delete(self, path: str) -> bool:
        """Gone at once, however much there is: it is moved out of sight before it is deleted."""
        safe = require_name(path)
        target = self._resolve(str(safe.parent)) / safe.name  # a link itself, not what it leads to
        doomed = self.partial / f"deleted-{secrets.token_hex(8)}"
        with _naming(path):
            self.partial.mkdir(parents=True, exist_ok=True)
            try:
                target.replace(doomed)
            except (FileNotFoundError, NotADirectoryError):
                return False
            _remove(doomed)
        return True

    def delete_empty(self, path: str, *, inside: str) -> None:
        """Delete the folders above `path` that hold nothing, up to and with `inside`, which is one of them."""
        with suppress(OSError):  # somebody has put something there, or deleted it meanwhile
            for folder in require_name(path).parents:
                self._resolve(str(folder)).rmdir()
                if str(folder) == inside:
                    return

    def clean(self, *, before_ms: int) -> int:
        cleaned = 0
        with suppress(FileNotFoundError), os.scandir(self.partial) as entries:
            for entry in entries:
                if entry.stat(follow_symlinks=False).st_mtime_ns < before_ms * 1_000_000:
                    _remove(Path(entry.path))
                    cleaned += 1
        return cleaned

    def _resolve(self, path: str) -> Path:
        safe = require_safe(path)
        target = os.path.realpath(self.root / safe)  # not Path.resolve, which raises on loops of links
        if safe.parts and not self._is_inside(target):
            raise InvalidInput(f"the path {path!r} leaves its folder.")
        return Path(target)

    def _is_shown(self, folder: PurePosixPath, entry: "os.DirEntry[str]") -> bool:
        """Not what nobody could ask for: uploads under way, links that lead out or nowhere, names that are refused."""
        if entry.name == PARTIAL_FOLDER and self.partial.samefile(entry.path):
            return False
        if entry.is_symlink() and not (Path(entry.path).exists() and self._is_inside(os.path.realpath(entry.path))):
            return False
        return is_shown(folder, entry.name)

    def _is_inside(self, real: str) -> bool:
        return real.startswith(os.path.realpath(self.root).rstrip("/") + "/")


class FileUpload:
    """`store.Upload` to `target` by way of `partial`."""

    def __init__(self, path: str, target: Path, partial: Path) -> None:
        self._path = path
        self._target = target
        self._partial = partial
        self._file = partial.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with _naming(self._path):
            while view:
                view = view[self._file.write(view) :]

    def commit(self, digest: str) -> ArtifactInfo:
        """Visible and on the disk when this returns. Raises Conflict where its folder was deleted meanwhile."""
        with _naming(self._path):
            with self._file as file:
                _keep_digest(file.fileno(), digest)
                os.fsync(file.fileno())
                info = _info(file.fileno())
            try:
                self._target.parent.mkdir(parents=True, exist_ok=True)
                self._partial.replace(self._target)
            except FileNotFoundError as error:
                raise Conflict(f"{self._path!r} was not stored: its folder was deleted at the same moment.") from error
        return info

    def abort(self) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """What the file system says, as errors a client can act on."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InvalidInput(f"{path!r} lies below a file, or is a folder.") from error
    except FileNotFoundError as error:  # deleted between two looks
        raise NotFound(f"there is no artifact {path!r}.") from error
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"the disk for artifacts is full: {path!r} was not stored.") from error
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidInput(f"the path {path!r} is too long for the file system of the artifacts.") from error
        raise Unavailable(f"the folder for artifacts failed at {path!r}: {error.strerror or error}.") from error


def _info(descriptor: int) -> ArtifactInfo:
    found = os.fstat(descriptor)
    try:
        digest, state = os.getxattr(descriptor, _DIGEST_ATTRIBUTE).decode().split(" ")
    except (OSError, ValueError, AttributeError):  # none was kept; AttributeError: macOS has no such call in Python
        digest, state = "", ""
    if state != _state(found):  # somebody has changed the file behind our back
        return ArtifactInfo(found.st_size, f"{found.st_ino:x}-{_state(found)}", None)
    return ArtifactInfo(found.st_size, digest, digest)


def _keep_digest(descriptor: int, digest: str) -> None:
    with suppress(OSError, AttributeError):  # a file system without attributes: readers get no digest, and no worse
        os.setxattr(descriptor, _DIGEST_ATTRIBUTE, f"{digest} {_state(os.fstat(descriptor))}".encode())


def _state(found: os.stat_result) -> str:
    return f"{found.st_size:x}-{found.st_mtime_ns:x}"


def _measured(path: Path, shown: str) -> ArtifactFile | None:
    """None for what was deleted meanwhile."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return ArtifactFile(shown, None if stat.S_ISDIR(found.st_mode) else found.st_size)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # what is left is tried again by the next `clean`
    else:
        path.unlink(missing_ok=True)


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name_of(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidInput(f"{token!r} is not a page token of this listing.") from None
