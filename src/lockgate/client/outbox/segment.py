"""One file of the outbox, written by one process for one run.

    magic  sent u64  length u32  header  |  length u32  crc32 u32  record  |  length u32  crc32 u32  record  | 0 ...

The file has its full size from the start and is mapped into memory, so appending is a copy: no system call, no full
disk half-way, and no moment at which the sending thread could take the interpreter's lock from the training loop.
What was copied belongs to the kernel: it survives kill -9 of every process, and a power cut may take the last moments.
A kill in the middle of a copy leaves a record that its checksum gives away; a disk may do that to any other record,
so reading goes on behind it, wherever the next whole one is. `sent` is how far the server has acknowledged; it is set
after the fact, so a crash makes a sender repeat at most one batch. It is copied whole, where `pack_into` writes zeros
first: killed between the two, it would have made a later sender give up what is behind it.

Whoever has the file open holds its flock, which the kernel drops with its holder: no two processes send one segment.
"""

import contextlib
import fcntl
import mmap
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import NewType

import msgspec

from lockgate.errors import DataDamaged, Unavailable
from lockgate.store.atomic import temporary_name

SUFFIX = ".segment"
_MAGIC = b"lockgate"
_START = struct.Struct("<8sQI")
_SENT_AT = slice(len(_MAGIC), len(_MAGIC) + 8)
_FRAME = struct.Struct("<II")
_READ_BYTES = 1 << 18

Framed = NewType("Framed", bytes)
Item = tuple[bytes, int]  # a record, and where the next one starts


class Begin(msgspec.Struct, frozen=True):
    """A run that its process began by itself: it is made with the first records that are delivered."""

    experiment: str
    run_name: str
    at: int


class Header(msgspec.Struct, frozen=True):
    """Where the records belong: the server at `uri`; where that is empty, the project whose state is in `state`, and
    where that is empty too, the project whose state the file lies in.
    """

    run_id: str
    uri: str
    state: str = ""
    begin: Begin | None = None


_header_decoder = msgspec.json.Decoder(Header)


def frame(payload: bytes) -> Framed:
    return Framed(_FRAME.pack(len(payload), zlib.crc32(payload)) + payload)


class Segment:
    """One open segment. One thread may append while another reads and marks."""

    def __init__(self, path: Path, fd: int, *, size: int) -> None:
        self.path = path
        self._fd = fd
        self._map = mmap.mmap(fd, 0)
        try:
            self.header, self._sent, self._first = _read_start(self._map)
        except ValueError:
            self._map.close()
            raise
        self.size = size or len(self._map)  # up to here there may be records
        self._gaps: dict[int, int] = {}  # where it is damaged, and how many bytes

    @classmethod
    def create(cls, folder: Path, name: str, header: Header, *, room: int) -> "Segment":
        """A new file for `room` bytes of records, locked before anybody can see it. Raises OSError."""
        path = folder / f"{name}{SUFFIX}"
        hidden = folder / temporary_name(path.name)
        encoded = msgspec.json.encode(header)
        data = _START.pack(_MAGIC, _START.size + len(encoded), len(encoded)) + encoded
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _reserve(fd, len(data) + room)
            os.pwrite(fd, data, 0)
            segment = cls(path, fd, size=len(data))
            hidden.rename(path)
        except BaseException:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise
        return segment

    @classmethod
    def adopt(cls, path: Path) -> "Segment | None":
        """A segment whose process is gone; None where it is not, or another sender has it or has finished it.

        Raises DataDamaged for a file that is no segment, Unavailable for one that cannot be opened.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("a pipe or a device")
            if found.st_nlink > 0:
                return cls(path, fd, size=0)
        except BlockingIOError:
            pass
        except ValueError as error:
            os.close(fd)
            raise DataDamaged(f"{path} is not a segment of an outbox.", hint="move it away") from error
        except OSError as error:
            os.close(fd)
            raise _unreadable(path, error) from error
        os.close(fd)  # another process has it, or deleted it between our open and our lock
        return None

    @classmethod
    def discard(cls, unfinished: Path) -> None:
        """Delete what `create` was making, unless it still is: a process of another container looks gone from here."""
        with contextlib.suppress(OSError), unfinished.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unfinished.unlink()

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def is_untouched(self) -> bool:
        """Whether nothing in it was acknowledged."""
        return self._sent == self._first

    def has_room(self, record: Framed) -> bool:
        return self.size + len(record) <= len(self._map)

    def append(self, record: Framed) -> None:
        """For a record that there is room for. It is kept when this returns."""
        end = self.size + len(record)
        self._map[self.size : end] = record
        self.size = end

    def read(self) -> list[Item]:
        """The next records behind `sent`, and behind what is damaged there; none where no whole one follows."""
        found = self._read_from(self._sent)
        if not found and (damaged := _before_next(self._written())):
            self._gaps[self._sent] = damaged
            found = self._read_from(self._sent + damaged)
        return found

    def _read_from(self, start: int) -> list[Item]:
        found = _whole(self._map[start : min(start + _READ_BYTES, self.size)], start)
        if found or start + _FRAME.size > self.size:
            return found
        longer = start + _FRAME.size + _FRAME.unpack_from(self._map, start)[0]  # than what we read at once
        return _whole(self._map[start:longer], start) if longer <= self.size else []

    def _written(self) -> bytes:
        """What is behind `sent`."""
        return self._map[self._sent : self.size].rstrip(b"\0")

    def mark_sent(self, end: int) -> None:
        """Everything before `end` was acknowledged."""
        self._map[_SENT_AT] = end.to_bytes(8, "little")
        self._sent = end

    def torn_bytes(self) -> int:
        """What was written behind the last whole record, when all of those were sent."""
        return len(self._written())

    @property
    def damaged_bytes(self) -> int:
        """What was not read although whole records are behind it."""
        return sum(self._gaps.values())

    def set_aside(self) -> Path:
        """Under a name that no sender looks for; what is returned."""
        aside = self.path.with_suffix(".damaged")
        self.path.rename(aside)
        return aside

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file; whoever comes next may send it."""
        if self._fd >= 0:
            self._map.close()
            os.close(self._fd)
            self._fd = -1


def _reserve(fd: int, size: int) -> None:
    """Zeros that are really there: writing into a map on a full disk would be a SIGBUS."""
    if hasattr(os, "posix_fallocate"):  # macOS has none
        os.posix_fallocate(fd, 0, size)
        return
    for start in range(0, size, _READ_BYTES):
        os.pwrite(fd, bytes(min(_READ_BYTES, size - start)), start)


def _whole(data: bytes, offset: int) -> list[Item]:
    """Records up to the first that is cut off or damaged, or to where nothing was written yet."""
    found: list[Item] = []
    at, last = 0, len(data) - _FRAME.size
    while at <= last:
        length, checksum = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        payload = data[at : at + length]
        at += length
        if not length or len(payload) < length or zlib.crc32(payload) != checksum:
            break
        found.append((payload, offset + at))
    return found


def _before_next(data: bytes) -> int:
    """How many bytes there are before a whole record that does not start at once; 0 where none follows.

    Its length may be what is damaged, so it may be anywhere: a wrong place is given away by the checksum.
    """
    padded = memoryview(data + bytes(_FRAME.size))  # a record's last bytes may have been zeros
    for at in range(1, len(data) - _FRAME.size):
        length, checksum = _FRAME.unpack_from(padded, at)
        end = at + _FRAME.size + length
        if length and end <= len(padded) and zlib.crc32(padded[at + _FRAME.size : end]) == checksum:
            return at
    return 0


def _unreadable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"{path} cannot be read: {error.strerror}.", hint="whose file is it?")


def _read_start(data: mmap.mmap) -> tuple[Header, int, int]:
    """The header, `sent`, and where the first record starts. Raises ValueError.

    A `sent` that nobody can have set is damage, and sending everything again is harmless.
    """
    with contextlib.suppress(struct.error, msgspec.DecodeError):
        magic, sent, length = _START.unpack_from(data)
        if magic == _MAGIC:
            first = _START.size + length
            header = _header_decoder.decode(data[_START.size : first])
            return header, sent if first <= sent <= len(data) else first, first
    raise ValueError("not a segment")
