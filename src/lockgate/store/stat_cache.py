"""Digests of files that have not changed since they were read last, so that looking at them again reads nothing.

A file is known by size, modification time, change time and inode. The kernel's timestamps move in ticks: a file that is
written twice within one tick looks the same both times. An entry is therefore kept only when the file had been left
alone for longer than a tick when it was read; a younger file is read again next time. The change time is used for that
because, unlike the modification time, no program can set it.
"""

import os
from pathlib import Path

import msgspec

from lockgate.clock import Clock
from lockgate.errors import InvalidInput
from lockgate.hashing import digest_file
from lockgate.store.atomic import write_atomically

_Entry = tuple[int, int, int, int, str]  # size, mtime_ns, ctime_ns, inode, digest
_decoder = msgspec.msgpack.Decoder(dict[str, _Entry])

_TICK_NS = 100_000_000  # ten times the coarsest tick of Linux
_ATTEMPTS = 200
_COARSE_TICK_NS = 2_000_000_000  # file systems that keep whole seconds, FAT with two of them


class StatCache:
    """`digest` of any file; `save` keeps what was learned. A lost or broken cache file costs time and nothing else."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._entries = _load(path)
        self._changed = False

    def digest(self, path: Path, found: os.stat_result | None = None) -> str:
        """The digest of the file's content, read only where it may have changed. OSError as from reading it;
        InvalidInput where it never stands still."""
        found = found or path.stat()
        name = os.fspath(path)
        known = self._entries.get(name)
        if known is not None and known[:4] == _identity(found):
            return known[4]
        return self._read(path, name)

    def _read(self, path: Path, name: str) -> str:
        for _ in range(_ATTEMPTS):
            before = path.stat()
            started_ns = self._clock.now_ms() * 1_000_000
            digest = digest_file(path)
            if _identity(path.stat()) == _identity(before):
                if started_ns - before.st_ctime_ns > _tick_ns(before):
                    self._entries[name] = (*_identity(before), digest)
                    self._changed = True
                return digest
            # Somebody writes to it right now: a digest of half of each content would name nothing.
            self._clock.sleep(0.01)
        raise InvalidInput(f"{path} is being written to all the time and has no content to name.")

    def save(self) -> None:
        """Write the cache file, when there is something new. Raises StorageFull."""
        if self._changed:
            write_atomically(self._path, msgspec.msgpack.encode(self._entries), durable=False)
            self._changed = False

    def prune(self) -> int:
        """Forget files that are gone; how many there were."""
        gone = [name for name in self._entries if not os.path.exists(name)]  # noqa: PTH110 - thousands of strings
        for name in gone:
            del self._entries[name]
        self._changed = self._changed or bool(gone)
        return len(gone)


def _load(path: Path) -> dict[str, _Entry]:
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _tick_ns(found: os.stat_result) -> int:
    return _COARSE_TICK_NS if found.st_ctime_ns % 1_000_000_000 == 0 else _TICK_NS
