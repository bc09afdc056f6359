"""The seam: what the server asks of a place for artifacts, and nothing of how it is done.

    begin(path) -> Upload ── write ─ write ─ commit ──► visible, whole
                                           └ abort ───► never was

Three implementations pass one contract suite (`tests/contract/test_artifact_stores.py`): `folder` on this machine,
`s3`, and `filesystem` for everything else that fsspec reaches.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from lockgate.errors import InvalidInput, Unavailable

ABANDONED_MS = 86_400_000  # an upload that began longer ago than this and has not ended never will


class ArtifactFile(NamedTuple):
    """One entry of a listing; `path` is relative to the root, `size_bytes` is None for a folder."""

    path: str
    size_bytes: int | None


class ArtifactPage(NamedTuple):
    """Some entries of a folder; `next_token` is empty on the last page."""

    files: tuple[ArtifactFile, ...]
    next_token: str


class ArtifactInfo(NamedTuple):
    """What is known of one whole file.

    `etag` changes whenever the file may have changed. `digest` is the BLAKE3 of the content as it was uploaded, None
    where the store cannot keep it beside the bytes.
    """

    size_bytes: int
    etag: str
    digest: str | None


class IsFolder(InvalidInput):
    """A file was asked for by the path of a folder."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Artifact path refers to a directory, not a file: {path!r}")  # in MLflow's words


class Replaced(Unavailable):
    """There is another file of that name by now."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} was replaced while it was read.", hint="read it again")


class Readable(Protocol):
    """The bytes of one file as they were when it was opened, however long the reading takes.

    Raises Replaced where the store no longer has them.
    """

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...

    def close(self) -> None: ...


class OpenArtifact(NamedTuple):
    info: ArtifactInfo
    content: Readable


class Upload(Protocol):
    """A file on its way. Exactly one of `commit` and `abort` ends it; each may be called from any thread."""

    def write(self, data: bytes) -> None:
        """Raises StorageFull."""
        ...

    def commit(self, digest: str) -> ArtifactInfo:
        """Make the file visible in place of what had its name; `digest` is the BLAKE3 of all that was written."""
        ...

    def abort(self) -> None:
        """Forget the file: what had its name stays."""
        ...


class Part(NamedTuple):
    """One piece of an upload that a client sends straight to the store."""

    number: int
    etag: str


class PartUrls(NamedTuple):
    """Where the pieces go: `urls[0]` takes part 1."""

    upload_id: str
    urls: tuple[str, ...]


class DirectAccess(Protocol):
    """Bytes between client and store without passing through this server, by URLs that expire.

    Such a URL is a permission of its own: whoever has it needs no other, until `expires_s` is over.
    """

    def download_url(self, path: str, *, expires_s: int) -> tuple[str, int]:
        """The URL and the size of the file. Raises NotFound, IsFolder."""
        ...

    def upload_url(self, path: str, *, expires_s: int) -> str:
        """A URL that takes one PUT with the whole file."""
        ...

    def begin_parts(self, path: str, count: int, *, expires_s: int) -> PartUrls: ...

    def complete_parts(self, path: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the file visible. Raises InvalidInput for parts that the store does not have."""
        ...

    def abort_parts(self, path: str, upload_id: str) -> None: ...


class ArtifactStore(Protocol):
    """Files below one root. Every `path` comes from outside: what is not a plain relative path raises InvalidInput.

    Raises StorageFull where there is no space left, Unavailable where the place cannot be reached, NotImplementedHere
    where it does not exist.
    """

    @property
    def direct(self) -> DirectAccess | None:
        """The way around this server; None where there is none."""
        ...

    def begin(self, path: str, *, size_bytes: int | None = None, digest: str | None = None) -> Upload:
        """An upload to `path`; size and digest where the sender has announced them. Raises InvalidInput."""
        ...

    def open(self, path: str) -> OpenArtifact:
        """Raises NotFound, IsFolder."""
        ...

    def list(self, path: str = "", *, limit: int, token: str = "") -> ArtifactPage:
        """Up to `limit` entries of one folder; none for what is no folder, nor names that nobody can ask for. Raises
        InvalidInput for a foreign token.
        """
        ...

    def delete(self, path: str) -> bool:
        """Delete a file, or a folder with all it holds. False where there was nothing."""
        ...

    def clean(self, *, before_ms: int) -> int:
        """Remove what uploads that began before then and never ended have left; how many there were."""
        ...
