"""Stored content -> a file or folder of the user's, in one step: a reader sees the old whole or the new whole."""

import ctypes
import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from lockgate.entities import Content
from lockgate.errors import InvalidInput
from lockgate.hashing import digest_file
from lockgate.store.atomic import copy_new, naming_full_disk, orphans, sync_all, temporary_name, write_new
from lockgate.store.store import Store, damaged, missing

_IN_MEMORY_BELOW = 1 << 22
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def checkout(store: Store, content: Content, target: Path, *, executable: bool = False) -> None:
    """Make `target` hold `content`, whatever was there. Every byte is checked on the way.

    Raises NotFound and DataDamaged from the store, StorageFull, InvalidInput where `target` cannot be written; `target`
    is then as it was.
    """
    temporary = target.parent / temporary_name(target.name)
    try:
        with naming_full_disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            for orphan in orphans(target.parent, target.name):
                remove(orphan)
            written = _write(store, content, temporary, executable=executable)
            sync_all(written)
            put_in_place(temporary, target)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror} ({error.filename}).") from error
    finally:
        remove(temporary)


def _write(store: Store, content: Content, target: Path, *, executable: bool) -> list[Path]:
    if content.kind == "file":
        _write_file(store, content.digest, content.size_bytes, target, executable=executable)
        return [target]
    target.mkdir()
    written = []
    made = {target}
    for entry in store.read_tree(content.digest):
        path = target / entry.path
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        _write_file(store, entry.digest, entry.size_bytes, path, executable=entry.executable)
        written.append(path)
    return written


def _write_file(store: Store, digest: str, size: int, target: Path, *, executable: bool) -> None:
    mode = 0o777 if executable else 0o666
    if size < _IN_MEMORY_BELOW:
        write_new(target, store.get_bytes(digest), mode=mode)
        return
    try:
        copy_new(store.path_of(digest), target, mode=mode)
    except FileNotFoundError:
        raise missing("file", digest) from None
    if digest_file(target) != digest:  # the copy is checked: it is what will be used
        raise damaged(digest)


def put_in_place(new: Path, target: Path) -> None:
    """Rename `new` to `target`; what was there is deleted afterwards, under the name of `new`."""
    try:
        new.replace(target)
    except OSError as error:
        # One of the two is a folder (and the old one is not empty): rename(2) refuses, an exchange does not.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
            raise
        if not _exchange(new, target):
            aside = target.parent / temporary_name(target.name)
            target.replace(aside)
            new.replace(target)
            remove(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, renameat2(2), which Python does not offer. False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def remove(path: Path) -> None:
    """Delete a file, a link (not what it leads to) or a folder; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
