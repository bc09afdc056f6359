"""Artifacts on any filesystem that fsspec reaches: Google Cloud Storage, Azure, HDFS, SFTP, memory, ...

fsspec promises no file that appears only when it is whole, so an upload goes to `.partial/` and is moved: a rename
where there are folders, a copy inside the store where there are keys.
"""

import errno
import hashlib
import io
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import has_magic
from operator import itemgetter
from typing import Any

from lockgate.errors import InvalidInput, LockgateError, NotFound, NotImplementedHere, StorageFull, Unavailable
from lockgate.server.artifacts.paths import (
    PARTIAL_FOLDER,
    is_shown,
    require_file,
    require_free,
    require_name,
    require_safe,
)
from lockgate.server.artifacts.store import ArtifactFile, ArtifactInfo, ArtifactPage, IsFolder, OpenArtifact, Replaced

log = logging.getLogger("lockgate.server")

_READ_AHEAD = 8 << 20  # bytes in one request to the store
# What stores call their clock; besides, one of disks ticks only every few milliseconds.
_CHANGING = ("ino", "mtime", "LastModified", "last_modified", "updated", "modified", "created")


def open_filesystem(url: str) -> "FilesystemArtifacts":
    """Raises InvalidInput for an address that fsspec does not know or whose package is not installed, Unavailable where
    nobody answers there.
    """
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise InvalidInput(f"the setting artifacts is {url!r}, which needs another package: {error}.") from error
    except OSError as error:
        raise Unavailable(f"the setting artifacts is {url!r}, which cannot be reached: {error}.") from error
    except Exception as error:  # each package has errors of its own for what it does not understand
        raise InvalidInput(f"the setting artifacts is {url!r}, which names no place for files: {error}.") from error
    return FilesystemArtifacts(filesystem, root.rstrip("/"))


class FilesystemArtifacts:
    """`store.ArtifactStore` below `root` of an fsspec filesystem. No digest is kept beside the bytes."""

    direct = None

    def __init__(self, filesystem: Any, root: str) -> None:  # fsspec has no type annotations
        self._filesystem = filesystem
        self._root = root

    def begin(self, path: str, *, size_bytes: int | None = None, digest: str | None = None) -> "MovedUpload":
        """Raises InvalidInput for a folder, and for what lies below a file."""
        partial = f"{self._root}/{PARTIAL_FOLDER}/{secrets.token_hex(8)}"
        with _naming(path):
            self.free_key(path)
            self._filesystem.makedirs(f"{self._root}/{PARTIAL_FOLDER}", exist_ok=True)
        return MovedUpload(self, self._filesystem, path, partial)

    def open(self, path: str) -> OpenArtifact:
        """What is neither a file nor a folder is not there."""
        key = self._key(path)
        with _looking(path):
            info = self._filesystem.info(key)
        if info["type"] == "directory":
            raise IsFolder(path)
        require_file(path)
        if info["type"] != "file":
            raise NotFound(f"there is no artifact {path!r}.")
        known = ArtifactInfo(info["size"], _etag(info), None)
        return OpenArtifact(known, io.BufferedReader(_Ranges(self._filesystem, path, key, known), _READ_AHEAD))

    def list(self, path: str = "", *, limit: int, token: str = "") -> ArtifactPage:
        """By name. fsspec lists a whole folder, so memory grows with it; `token` is the last name of a page."""
        folder = require_safe(path)
        try:
            with _looking(path):
                entries = self._filesystem.ls(self._key(path), detail=True)
        except NotFound:
            return ArtifactPage((), "")
        found = [
            (name, None if entry["type"] == "directory" else int(entry["size"]))
            for entry in entries
            if (name := entry["name"].rstrip("/").rpartition("/")[2]) > token
            and is_shown(folder, name)
            and entry["name"].strip("/") != self._key(path).strip("/")  # `ls` of a file is the file
        ]
        found.sort(key=itemgetter(0))  # some stores keep a file and a folder of one name
        files = tuple(ArtifactFile(str(folder / name), size) for name, size in found[:limit])
        return ArtifactPage(files, found[limit - 1][0] if len(found) > limit else "")

    def delete(self, path: str) -> bool:
        require_name(path)
        try:
            with _looking(path):
                self._remove(self._key(path))
        except NotFound:
            return False
        return True

    def free_key(self, path: str) -> str:
        """Where a file may be written: not below another one and not in place of a folder. Raises InvalidInput."""
        steps = require_name(path).parts
        key = self._key(path)
        above = (self._key("/".join(steps[:i])) for i in range(1, len(steps)))
        require_free(
            path, is_folder=self._filesystem.isdir(key), is_below_file=any(map(self._filesystem.isfile, above))
        )
        return key

    def _remove(self, key: str) -> None:
        """`rm` takes a name with `*`, `?` or `[` for all that it fits, so what has one goes a file at a time."""
        if not has_magic(key):
            self._filesystem.rm(key, recursive=True)
            return
        if is_file := self._filesystem.isfile(key):
            self._filesystem.rm_file(key)
        found = self._filesystem.find(key, withdirs=True, detail=True)
        if not found and not is_file:
            raise FileNotFoundError(key)
        for name in sorted(found, reverse=True):  # what a folder holds before the folder
            is_folder = found[name].get("type") == "directory"
            with suppress(FileNotFoundError):  # many a folder is no more than a part of the names of its files
                (self._filesystem.rmdir if is_folder else self._filesystem.rm_file)(name)

    def clean(self, *, before_ms: int) -> int:
        """Leftovers whose store tells no time stay."""
        cleaned = 0
        try:
            with _naming(PARTIAL_FOLDER):
                for entry in self._filesystem.ls(f"{self._root}/{PARTIAL_FOLDER}", detail=True):
                    written_ms = self._filesystem.modified(entry["name"]).timestamp() * 1000
                    if written_ms < before_ms:
                        self._filesystem.rm_file(entry["name"])
                        cleaned += 1
        except (NotFound, NotImplementedHere):
            return cleaned
        return cleaned

    def _key(self, path: str) -> str:
        return "/".join((self._root, *require_safe(path).parts))


class MovedUpload:
    """`store.Upload` that writes to `partial` and moves it to where the file belongs."""

    # fsspec has no type annotations
    def __init__(self, store: FilesystemArtifacts, filesystem: Any, path: str, partial: str) -> None:
        self._store = store
        self._filesystem = filesystem
        self._path = path
        self._partial = partial
        with _naming(path):
            self._file = filesystem.open(partial, "wb")

    def write(self, data: bytes) -> None:
        with _naming(self._path):
            self._file.write(data)

    def commit(self, digest: str) -> ArtifactInfo:
        """Raises InvalidInput where its name has become a folder's meanwhile, or lies below a file."""
        with _naming(self._path):
            self._file.close()
            target = self._store.free_key(self._path)  # into a folder `mv` would move it under the name that it has now
            self._filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._filesystem.mv(self._partial, target)
            info = self._filesystem.info(target)
        return ArtifactInfo(info["size"], _etag(info), None)

    def abort(self) -> None:
        try:
            with _naming(self._path):
                self._file.close()
                self._filesystem.rm_file(self._partial)
        except NotFound:
            return


class _Ranges(io.RawIOBase):
    """A file of the store, read by ranges. Raises Replaced for a range of another file than the one of `info`."""

    # fsspec has no type annotations
    def __init__(self, filesystem: Any, path: str, key: str, info: ArtifactInfo) -> None:
        self._filesystem = filesystem
        self._path = path
        self._key = key
        self._info = info
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.size_bytes}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:  # any writable buffer
        end = min(self._at + len(buffer), self._info.size_bytes)
        if end <= self._at:
            return 0
        with _naming(self._path):
            try:
                data = self._filesystem.cat_file(self._key, start=self._at, end=end)
            except FileExistsError as error:  # gcsfs' word for a condition that does not hold
                raise Replaced(self._path) from error
            # After the bytes and not before, and for every range: nobody says here which one is the last.
            if _etag(self._filesystem.info(self._key)) != self._info.etag:
                raise Replaced(self._path)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextmanager
def _looking(path: str) -> Iterator[None]:
    """`_naming` for what is there already: below a file there is nothing."""
    with _naming(path):
        try:
            yield
        except NotADirectoryError as error:
            raise FileNotFoundError(path) from error


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """What the store says, as errors a client can act on. Its own words, in which addresses and folders of the server
    may be, are for the log.
    """
    try:
        yield
    except LockgateError:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"there is no artifact {path!r}.") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InvalidInput(f"{path!r} lies below a file, or is a folder.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"the store for artifacts is full: {path!r} was not stored.") from error
        raise _failed(path, error, error.strerror or type(error).__name__) from error
    except NotImplementedError as error:
        raise NotImplementedHere(
            f"the store for artifacts cannot do this to {path!r}.",
            hint="set artifacts to a place that can be written, listed and deleted from",
        ) from error
    except Exception as error:  # each package has errors of its own for what its store says
        raise _failed(path, error, type(error).__name__) from error


def _failed(path: str, error: Exception, said: str) -> Unavailable:
    log.warning("the store for artifacts failed at %r: %s: %s", path, type(error).__name__, error)
    return Unavailable(f"the store for artifacts failed at {path!r}: {said}.", hint="the server's log has more")


def _etag(info: dict[str, Any]) -> str:  # what `info` holds differs from store to store
    """The store's own tag, or one made of what changes with the content."""
    known = info.get("ETag") or info.get("etag") or "-".join(str(info[key]) for key in _CHANGING if info.get(key))
    return hashlib.sha256(f"{info['size']} {known}".encode()).hexdigest()[:32]
