"""A folder as a value: the sorted list of its files with their digests, and the identity of that list.

Links inside the folder are followed, so a tree holds plain files only; a link that leads out of it is refused, because
its target is not part of what the digest promises. Empty folders are not part of a tree.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from lockgate.entities import Record
from lockgate.errors import DataDamaged, InvalidInput
from lockgate.hashing import digest_canonical, is_digest

# Never content: caches and histories that change without anybody's intent.
_IGNORED = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store"})
_TEMPORARY = ".lockgate"


class TreeEntry(Record, frozen=True, kw_only=True):
    """One file of a tree; `path` is relative, with forward slashes."""

    path: str
    digest: str
    size_bytes: int
    executable: bool = False


class Found(msgspec.Struct, frozen=True):
    """One file met in a folder, before its digest is known."""

    path: str
    source: Path
    stat: os.stat_result


_decoder = msgspec.json.Decoder(list[TreeEntry])


def iter_files(root: Path) -> Iterator[Found]:
    """The files below `root`. Raises InvalidInput for links that leave it or go in circles, devices and odd names."""
    real = Path(os.path.realpath(root))
    yield from _iter_folder(real, real, "", (os.fspath(real),))


def _iter_folder(root: Path, folder: Path, prefix: str, above: tuple[str, ...]) -> Iterator[Found]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _IGNORED or entry.name.startswith(_TEMPORARY):
                continue
            path = prefix + entry.name
            if entry.is_symlink():
                _check_link(root, Path(entry.path), above)
            if entry.is_dir():
                inner = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
                yield from _iter_folder(root, Path(inner), f"{path}/", (*above, inner))
            elif entry.is_file():
                _check_name(root, path)
                yield Found(path, Path(entry.path), entry.stat())
            else:
                raise InvalidInput(f"{root / path} is neither a file nor a folder and cannot be stored.")


def _check_link(root: Path, link: Path, above: tuple[str, ...]) -> None:
    target = os.path.realpath(link)
    if target != os.fspath(root) and not target.startswith(f"{root}{os.sep}"):
        raise InvalidInput(
            f"{link} is a link to {target}, which is outside {root}.",
            hint="put the file itself into the folder, or name its target as a dependency of its own",
        )
    if target in above:
        raise InvalidInput(f"{link} is a link to a folder that it lies in ({target}).")
    if not os.path.exists(target):  # noqa: PTH110 - a string is what realpath gave
        raise InvalidInput(f"{link} is a link to {target}, which does not exist.")


def _check_name(root: Path, path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{root} holds a file whose name is not UTF-8: {path!r}.") from None


def is_executable(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IXUSR)


def canonical(entries: Iterable[TreeEntry]) -> tuple[TreeEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.path))


def tree_digest(entries: tuple[TreeEntry, ...]) -> str:
    """The identity of a tree; `entries` are canonical."""
    return digest_canonical("tree", entries)


def encode_tree(entries: tuple[TreeEntry, ...]) -> bytes:
    """The stored manifest: JSON, one file a line."""
    return b"[\n" + b",\n".join(map(msgspec.json.encode, entries)) + b"\n]\n"


def decode_tree(digest: str, data: bytes) -> tuple[TreeEntry, ...]:
    """The entries of a stored manifest. Raises DataDamaged unless they are what `digest` names."""
    try:
        entries = tuple(_decoder.decode(data))
    except msgspec.DecodeError as error:
        raise DataDamaged(f"the stored tree {digest} is not readable: {error}.", hint="lockgate verify") from error
    if tree_digest(entries) != digest:
        raise DataDamaged(f"the stored tree {digest} is damaged: its list has another digest.", hint="lockgate verify")
    for entry in entries:
        # A manifest with the right digest was written by us, or by somebody who wants our next write elsewhere.
        if not is_digest(entry.digest) or not _is_inside(entry.path):
            raise DataDamaged(f"the stored tree {digest} names {entry.path!r}, which no folder can hold.")
    return entries


def _is_inside(path: str) -> bool:
    return all(part not in ("", ".", "..") for part in path.split("/")) and "\0" not in path
