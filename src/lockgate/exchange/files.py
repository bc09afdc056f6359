"""Files of runs and models where they are: behind a server's artifact proxy, or at any address that fsspec reads."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from lockgate.client.transport import Transport
from lockgate.errors import DataDamaged, InvalidInput, LockgateError, NotFound, Unavailable
from lockgate.exchange import answers
from lockgate.exchange.refused import REFUSED
from lockgate.exchange.scratch import scratch_folder
from lockgate.store.atomic import naming_full_disk
from lockgate.wire.mlflow.artifacts import ListProxy, listed_as, proxied_path


class Sizes(NamedTuple):
    """Of some files together."""

    files: int
    size_bytes: int


class Files(Protocol):
    """One folder with all it holds; nothing where there is no such folder."""

    def walk(self) -> Iterator[tuple[str, int]]:
        """(path below the folder, bytes) of every file."""
        ...

    def fetch(self, path: str, target: Path) -> None: ...

    def store(self, path: str, local: Path) -> None: ...


def open_files(transport: Transport, uri: str) -> Files:
    """The folder at `uri`. Raises InvalidInput for an address that cannot be opened from here."""
    path = proxied_path(uri)
    return OutsideFiles(uri) if path is None else ProxiedFiles(transport, path)


def count(files: Files) -> Sizes:
    """What is there now."""
    sizes = [size for _, size in files.walk()]
    return Sizes(len(sizes), sum(sizes))


def fail(part: str, error: LockgateError) -> None:
    """For what is whole or nothing."""
    raise error


def copy_files(source: Files, destination: Files, refuse: Callable[[str, LockgateError], None] = fail) -> Sizes:
    """Every file, one after the other; a file that is there already is written again.

    One that cannot be read there or stored here goes to `refuse`, and is among what the source has.
    """
    found = size_bytes = 0
    with scratch_folder() as folder:
        held = folder / "file"
        for path, listed in source.walk():
            found, size_bytes = found + 1, size_bytes + listed
            try:
                source.fetch(path, held)
                # MLflow's server takes pct%41.txt for pctA.txt, and sends that where there is one.
                if (came := held.stat().st_size) != listed:
                    raise DataDamaged(
                        f"it is listed with {listed} bytes, and {came} came.",
                        hint="the same command tries again; if it stays so, give the file a simpler name at the source",
                    )
                destination.store(path, held)
            except REFUSED as error:
                refuse(f"file {path}", error)
    return Sizes(found, size_bytes)


class ProxiedFiles:
    """Behind the server that `transport` leads to, below its artifact root."""

    def __init__(self, transport: Transport, root: str) -> None:
        self._transport = transport
        self._root = root

    def walk(self) -> Iterator[tuple[str, int]]:
        folders = [""]
        while folders:
            folder = folders.pop()
            request = ListProxy(path=listed_as(_join(self._root, folder)))
            for item in self._transport.call(answers.LIST_FILES, request).files:
                path = _join(folder, item.path)
                if item.is_dir:
                    folders.append(path)
                else:
                    yield path, item.file_size or 0

    def fetch(self, path: str, target: Path) -> None:
        self._transport.get_file(_join(self._root, path), target)

    def store(self, path: str, local: Path) -> None:
        self._transport.put_file(_join(self._root, path), local)


class OutsideFiles:
    """Where a server only says where its files are: a folder, `s3://...`, whatever fsspec has a driver for."""

    def __init__(self, uri: str) -> None:
        import fsspec

        place = unquote(urlsplit(uri).path) if uri.startswith("file:") else uri  # fsspec takes %20 for part of a name
        try:
            self._filesystem, self._root = fsspec.core.url_to_fs(place)
        except (ImportError, ValueError) as error:
            raise InvalidInput(
                f"the files at {uri} cannot be opened: {error}.",
                hint="install what it names, or start the MLflow server with --serve-artifacts",
            ) from error
        self._uri = uri

    def exists(self) -> bool:
        return bool(self._filesystem.exists(self._root))

    def walk(self) -> Iterator[tuple[str, int]]:
        try:
            found = self._filesystem.find(self._root, detail=True)
        except OSError as error:
            raise Unavailable(f"the files at {self._uri} cannot be listed: {error}.") from error
        for place, info in found.items():
            path = place.removeprefix(self._root).strip("/")
            yield path, 0 if info.get("islink") and self._is_folder(path) else int(info["size"] or 0)

    def fetch(self, path: str, target: Path) -> None:
        if self._is_folder(path):
            raise InvalidInput(
                f"{path} at {self._uri} is a link to a folder, which is not followed: it may lead anywhere.",
                hint="put the folder itself in its place; the same command then copies it",
            )
        try:
            with naming_full_disk(target):
                self._filesystem.get_file(f"{self._root}/{path}", str(target))
        except (FileNotFoundError, PermissionError) as error:
            raise NotFound(f"{path} at {self._uri} cannot be read: {error}.") from error
        except OSError as error:
            raise Unavailable(f"{path} at {self._uri} cannot be read: {error}.") from error

    def _is_folder(self, path: str) -> bool:
        """Of what is listed as a file: a link on this machine. Elsewhere there are none, and asking costs a request."""
        return "file" in self._filesystem.protocol and Path(self._root, path).is_dir()

    def store(self, path: str, local: Path) -> None:
        place = f"{self._root}/{path}"
        try:
            self._filesystem.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._filesystem.put_file(str(local), place)
        except OSError as error:
            raise Unavailable(f"{path} at {self._uri} cannot be written: {error}.") from error


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name
