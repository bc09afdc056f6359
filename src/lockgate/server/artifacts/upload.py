"""An upload as it is received: measured, limited, digested, and compared with what its sender says of it."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from blake3 import blake3

from lockgate.errors import InvalidInput, PayloadTooLarge
from lockgate.hashing import is_digest
from lockgate.server.artifacts.store import ArtifactInfo, ArtifactStore
from lockgate.wire.mlflow.artifacts import DIGEST_HEADER

# What RFC 3230 and RFC 9530 call the hashes that we compute; a sender may use others, which are left unchecked.
_HASHES = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5"}


class Hasher(Protocol):
    """What BLAKE3 and the hashes of `hashlib` have in common."""

    def update(self, data: bytes, /) -> object: ...

    def digest(self) -> bytes: ...


class Checksum(NamedTuple):
    """One promise of the sender: `hasher` fed with the whole file must give `expected`."""

    header: str
    hasher: Hasher
    expected: bytes


def announced(headers: Mapping[str, str]) -> tuple[Checksum, ...]:
    """The checksums in a request's headers (lower-case names). Raises InvalidInput for one that cannot be read."""
    found = []
    if value := headers.get(DIGEST_HEADER):
        if not is_digest(value):
            raise InvalidInput(f"{DIGEST_HEADER} is {value!r}, expected a BLAKE3 of 64 hexadecimal digits.")
        found.append(Checksum(DIGEST_HEADER, blake3(), bytes.fromhex(value)))
    if value := headers.get("content-md5"):
        found.append(Checksum("Content-MD5", _hasher("md5"), _decoded("Content-MD5", value)))
    for header in ("digest", "content-digest", "repr-digest"):
        for item in headers.get(header, "").split(","):
            name, _, encoded = item.strip().partition("=")
            if algorithm := _HASHES.get(name.lower()):
                # RFC 9530 puts the bytes between colons, RFC 3230 does not.
                found.append(Checksum(header, _hasher(algorithm), _decoded(header, encoded.strip(":"))))
    return tuple(found)


class CheckedUpload:
    """One file on its way into a store. Exactly one of `commit` and `abort` ends it."""

    def __init__(
        self,
        store: ArtifactStore,
        path: str,
        *,
        size_bytes: int | None = None,
        checksums: Sequence[Checksum] = (),
        limit_bytes: int | None = None,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """What is whole becomes visible inside of `around`. Raises InvalidInput for a path that cannot be written,
        PayloadTooLarge for an announced size.
        """
        self._path = path
        self._around = around
        self._limit = limit_bytes
        self._announced_size = size_bytes
        self._checksums = checksums
        self._blake3 = blake3()
        self._size = 0
        self._require_within_limit(size_bytes or 0)
        digest = next((item.expected.hex() for item in checksums if item.header == DIGEST_HEADER), None)
        self._upload = store.begin(path, size_bytes=size_bytes, digest=digest)

    def write(self, data: bytes) -> None:
        """Raises PayloadTooLarge, StorageFull."""
        self._size += len(data)
        self._require_within_limit(self._size)
        self._blake3.update(data)
        for item in self._checksums:
            item.hasher.update(data)
        self._upload.write(data)

    def commit(self) -> ArtifactInfo:
        """Make the file visible. Raises InvalidInput where it is not what was announced."""
        if self._announced_size not in (None, self._size):
            raise InvalidInput(
                f"{self._path!r} was announced with {self._announced_size} bytes and {self._size} came; "
                "nothing was stored."
            )
        for item in self._checksums:
            if (found := item.hasher.digest()) != item.expected:
                raise InvalidInput(
                    f"{self._path!r} does not have the {item.header} it was sent with: expected {item.expected.hex()}, "
                    f"received {found.hex()}; nothing was stored.",
                    hint="send it again",
                )
        digest = self._blake3.hexdigest()
        with self._around():
            return self._upload.commit(digest)._replace(digest=digest)

    def abort(self) -> None:
        """What was there before stays."""
        self._upload.abort()

    def _require_within_limit(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise PayloadTooLarge(
                f"{self._path!r} has more than {self._limit >> 20} MiB.",
                hint="raise the server's setting max_artifact_mb",
            )


def _hasher(algorithm: str) -> Hasher:
    return hashlib.new(algorithm, usedforsecurity=False)


def _decoded(header: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise InvalidInput(f"{header} is {value!r}, expected base64.") from None
