"""The content store: bytes and folders by the digest of what they hold.

    <root>/files/ab/cdef…    a file's bytes; the name is the BLAKE3 of them (`b3sum` agrees)
    <root>/trees/ab/cdef…    a folder: the canonical list of its files (tree.py)
    <root>/actions/          results by the identity of the question (actions.py)
    <root>/tmp/              what is being written

Everything is written to `tmp`, made durable and renamed, so that a name in `files` or `trees` always stands for whole
content; objects are read-only and checked whenever they are read. A tree is written after its files. Storing what is
there already marks it as fresh, so that a garbage collection that runs at the same time leaves it (gc.py).
"""

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from lockgate.entities import Content
from lockgate.errors import DataDamaged, InvalidInput, NotFound
from lockgate.hashing import digest_bytes, digest_file, digest_stream, is_digest
from lockgate.store.atomic import copy_new, naming_full_disk, sync_all, write_new
from lockgate.store.snapshot import tree_content
from lockgate.store.tree import TreeEntry, canonical, decode_tree, encode_tree, is_executable, iter_files

Kind = Literal["files", "trees"]

# Files below this size are read once into memory: one hash, one write. Larger ones are copied by the kernel.
_IN_MEMORY_BELOW = 1 << 22


class Store:
    """A store in a folder, which is made on the first write. Safe for any number of processes at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # -- writing ------------------------------------------------------------------------------------------------------

    def put_bytes(self, data: bytes) -> str:
        """Store `data`; its digest. Raises StorageFull."""
        digest = digest_bytes(data)
        if not self._freshen("files", digest, len(data)):
            with naming_full_disk(self.root):
                self._publish([(self._write_temporary(data), self.path_of(digest))])
        return digest

    def put_file(self, path: Path) -> Content:
        """Store one file. Raises NotFound, InvalidInput (not a file, or not readable), StorageFull."""
        try:
            with naming_full_disk(self.root):
                content, pending = self._stage_file(path)
                self._publish([pending] if pending else [])
        except FileNotFoundError:
            raise NotFound(f"there is no file {path}.") from None
        except (PermissionError, IsADirectoryError) as error:
            raise InvalidInput(f"{path} cannot be read as a file: {error.strerror}.") from error
        return content

    def put_tree(self, path: Path) -> Content:
        """Store a folder with all its files. Raises NotFound, InvalidInput (see tree.py), StorageFull."""
        if not path.is_dir():
            raise NotFound(f"there is no folder {path}.")
        entries: list[TreeEntry] = []
        pending: dict[Path, Path] = {}
        try:
            with naming_full_disk(self.root):
                for found in iter_files(path):
                    content, staged = self._stage_file(found.source)
                    entries.append(_entry(found.path, content, executable=is_executable(found.stat)))
                    if staged and staged[1] in pending:
                        staged[0].unlink()  # the same bytes twice in this tree
                    elif staged:
                        pending[staged[1]] = staged[0]
                self._publish([(temporary, target) for target, temporary in pending.items()])
        except FileNotFoundError as error:
            _discard(pending.values())
            raise InvalidInput(f"{error.filename} disappeared while {path} was stored.") from error
        except BaseException:
            _discard(pending.values())
            raise
        return self.put_entries(entries)

    def put_entries(self, entries: Iterable[TreeEntry]) -> Content:
        """Store the list of a folder whose files are stored already."""
        ordered = canonical(entries)
        content = tree_content(ordered)
        data = encode_tree(ordered)
        if not self._freshen("trees", content.digest, len(data)):
            with naming_full_disk(self.root):
                self._publish([(self._write_temporary(data), self.path_of(content.digest, "trees"))])
        return content

    def put(self, path: Path) -> Content:
        """Store a file or a folder, whichever `path` is."""
        return self.put_tree(path) if path.is_dir() else self.put_file(path)

    # -- reading ------------------------------------------------------------------------------------------------------

    def get_bytes(self, digest: str) -> bytes:
        """The bytes of a stored file, checked. Raises NotFound, DataDamaged."""
        data = self._read("files", digest)
        if digest_bytes(data) != digest:
            raise damaged(digest)
        return data

    def open(self, digest: str) -> BinaryIO:
        """A stored file for reading from its start, checked before it is returned. Raises NotFound, DataDamaged."""
        try:
            file = self.path_of(digest).open("rb")
        except FileNotFoundError:
            raise missing("file", digest) from None
        if digest_stream(file) != digest:
            file.close()
            raise damaged(digest)
        file.seek(0)
        return file

    def read_tree(self, digest: str) -> tuple[TreeEntry, ...]:
        """The files of a stored folder, sorted by path. Raises NotFound, DataDamaged."""
        return decode_tree(digest, self._read("trees", digest))

    def has(self, content: Content) -> bool:
        """Whether all of `content` is stored. Looks at names only: damage shows when it is read."""
        if content.kind == "file":
            return self.path_of(content.digest).is_file()
        if not self.path_of(content.digest, "trees").is_file():
            return False
        return all(self.path_of(entry.digest).is_file() for entry in self.read_tree(content.digest))

    def iter_objects(self, kind: Kind) -> Iterator[tuple[Path, str]]:
        """Every stored object with its digest, in order; for what somebody else put here, with what it is called."""
        for path in sorted((self.root / kind).glob("??/*")):
            yield path, path.parent.name + path.name

    def path_of(self, digest: str, kind: Kind = "files") -> Path:
        """Where an object lies, stored or not. Raises InvalidInput for what is not a digest."""
        if not is_digest(digest):
            raise InvalidInput(f"{digest!r} is not a digest: 64 hexadecimal digits are.")
        return self.root / kind / digest[:2] / digest[2:]

    # -- how it is written --------------------------------------------------------------------------------------------

    def _stage_file(self, source: Path) -> tuple[Content, tuple[Path, Path] | None]:
        """The file's content, and (temporary, final name) where it is not stored yet."""
        size = source.stat().st_size
        if size < _IN_MEMORY_BELOW:
            data = source.read_bytes()
            content = Content(kind="file", digest=digest_bytes(data), size_bytes=len(data))
            if self._freshen("files", content.digest, len(data)):
                return content, None
            return content, (self._write_temporary(data), self.path_of(content.digest))
        content = Content(kind="file", digest=digest_file(source), size_bytes=size)
        if self._freshen("files", content.digest, size):
            return content, None
        temporary = self._temporary()
        try:
            copy_new(source, temporary, mode=0o444)
            # The copy is what is stored, so its digest counts: the source may have changed since it was hashed.
            size = temporary.stat().st_size
            content = Content(kind="file", digest=digest_file(temporary), size_bytes=size)
        except BaseException:
            _discard([temporary])
            raise
        return content, (temporary, self.path_of(content.digest))

    def _write_temporary(self, data: bytes) -> Path:
        temporary = self._temporary()
        try:
            write_new(temporary, data, mode=0o444)
        except BaseException:
            _discard([temporary])
            raise
        return temporary

    def _temporary(self) -> Path:
        folder = self.root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{os.getpid()}-{secrets.token_hex(8)}"

    def _publish(self, pending: list[tuple[Path, Path]]) -> None:
        """Durable first, then visible: a name must never stand for bytes that a power cut can still take."""
        if not pending:
            return
        try:
            sync_all([temporary for temporary, _ in pending])
            for folder in {target.parent for _, target in pending}:
                folder.mkdir(parents=True, exist_ok=True)
            for temporary, target in pending:
                temporary.replace(target)
            sync_all({target.parent for _, target in pending})
        except BaseException:
            _discard(temporary for temporary, _ in pending)
            raise

    def _freshen(self, kind: Kind, digest: str, size: int | None) -> bool:
        """Whether the object is here whole, as far as its size tells; its time becomes now."""
        path = self.path_of(digest, kind)
        try:
            os.utime(path)
            return size is None or path.stat().st_size == size
        except FileNotFoundError:
            return False

    def _read(self, kind: Kind, digest: str) -> bytes:
        try:
            return self.path_of(digest, kind).read_bytes()
        except FileNotFoundError:
            raise missing(kind[:-1], digest) from None


def _entry(path: str, content: Content, *, executable: bool) -> TreeEntry:
    return TreeEntry(path=path, digest=content.digest, size_bytes=content.size_bytes, executable=executable)


def _discard(temporaries: Iterable[Path]) -> None:
    for temporary in temporaries:
        temporary.unlink(missing_ok=True)


def damaged(digest: str) -> DataDamaged:
    """The error for a stored file whose bytes are not what its name says."""
    return DataDamaged(
        f"the stored file {digest} is damaged: its bytes have another digest.",
        hint="lockgate verify lists all damage; lockgate verify --remove lets the next run build it again",
    )


def missing(kind: str, digest: str) -> NotFound:
    """The error for an object that is not stored."""
    return NotFound(
        f"the store has no {kind} {digest}.",
        hint="lockgate run builds the outputs of stages again; what a release names is where it was made, "
        "or in a backup of .lockgate/store",
    )
