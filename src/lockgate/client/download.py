"""A file on its way from a server, which survives broken connections.

What has come stays; the rest is asked for with `Range`, and with `If-Range`, so that a file that was replaced meanwhile
comes whole and not in two halves. The digest that the server gives is checked at the end.
"""

from contextlib import AbstractContextManager
from http.client import HTTPException, HTTPResponse
from io import RawIOBase
from pathlib import Path
from typing import Protocol

from lockgate.errors import DataDamaged, Unavailable
from lockgate.hashing import digest_file
from lockgate.store.atomic import naming_full_disk
from lockgate.wire.mlflow.artifacts import DIGEST_HEADER

_PIECE = 1 << 20
_FRUITLESS = 3  # attempts in a row that may bring not one byte


class Ask(Protocol):
    """Sends the GET with further headers; raises Unavailable where there is no answer, also while it is read."""

    def __call__(self, headers: dict[str, str]) -> AbstractContextManager[HTTPResponse]: ...


def download(ask: Ask, path: Path) -> None:
    """Write the whole file to `path`, which must not exist.

    Raises Unavailable where the connection keeps breaking, DataDamaged where the bytes are not what the server has,
    StorageFull where the disk of this machine is full.
    """
    with path.open("xb", buffering=0) as file:
        digest = _fetch(ask, path, file)
    if digest and digest_file(path) != digest:
        raise DataDamaged(f"what was downloaded to {path.name!r} does not have the digest that the server gave.")


def _fetch(ask: Ask, path: Path, file: RawIOBase) -> str | None:
    """The digest that the server gives, if it gives one."""
    etag = ""
    fruitless = 0
    while True:
        before = file.tell()
        try:
            with ask({"Range": f"bytes={before}-", "If-Range": etag} if before and etag else {}) as answer:
                if answer.status != 206:
                    file.seek(0)
                    file.truncate()
                etag = answer.headers.get("ETag", "")
                size = file.tell() + int(answer.headers.get("Content-Length") or 0)
                while piece := answer.read(_PIECE):
                    with naming_full_disk(path):
                        _write(file, piece)
                if file.tell() < size:
                    raise HTTPException(f"the answer ended {size - file.tell()} bytes early")
                return answer.headers.get(DIGEST_HEADER)
        except Unavailable:
            fruitless = 0 if file.tell() > before else fruitless + 1
            if fruitless >= _FRUITLESS:
                raise


def _write(file: RawIOBase, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]
