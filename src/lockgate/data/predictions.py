"""The prediction log and the labels that come back: append-only files of JSON lines, one record a line.

    predictions/<replica>-<first_at>.jsonl    one writer each; a replica starts a new segment when one is full
    feedback/<day>-<process>.jsonl            one writer each

A line counts once its newline is written. Every file has one writer, so a line that a killed process left unfinished
is always the last one of its file, and readers skip it; any other line that cannot be read is damage, and said so.

A request of one row has its id as the prediction's id. Rows of a larger request are `<request id>-0`, `-1`, ...
"""

import mmap
import os
import secrets
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from lockgate.clock import Clock
from lockgate.entities import Feedback, Prediction, Record
from lockgate.errors import DataDamaged
from lockgate.store.atomic import naming_full_disk

_SEGMENT_BYTES = 64 << 20
_DAY_MS = 86_400_000
# A file's time and the clock may differ by a little, and a batch is written some moments after it was answered.
_SLACK_MS = 60_000
_PROCESS = secrets.token_hex(4)

_encoder = msgspec.json.Encoder()
_HEAD = b'{"prediction_id":"'
R = TypeVar("R", bound=Record)


class PredictionLog:
    """The writer of one replica. Not for several threads at once."""

    def __init__(
        self,
        folder: Path,
        *,
        replica: str,
        clock: Clock,
        keep_days: int,
        keep_mb: int,
        segment_bytes: int = _SEGMENT_BYTES,
    ) -> None:
        self._folder = folder
        self._replica = replica
        self._clock = clock
        self._keep_days = keep_days
        self._keep_mb = keep_mb
        self._segment_bytes = segment_bytes
        self._fd = -1
        self._size = 0

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Write all in one call. Raises StorageFull; the file then ends where it ended before."""
        if predictions:
            self.append_lines(b"".join(_encoder.encode(item) + b"\n" for item in predictions))

    def append_lines(self, lines: bytes | bytearray) -> None:
        """The same for lines that are encoded already, each with its newline."""
        if self._fd < 0 or self._size >= self._segment_bytes:
            self._start_segment()
        with naming_full_disk(self._folder):
            try:
                write_whole(self._fd, lines)
            except BaseException:
                # Half a line in the middle of a file would be damage.
                os.ftruncate(self._fd, self._size)
                raise
        self._size += len(lines)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _start_segment(self) -> None:
        self.close()
        expire(self._folder, now_ms=self._clock.now_ms(), keep_days=self._keep_days, keep_mb=self._keep_mb)
        with naming_full_disk(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{self._replica}-{self._clock.now_ms()}.jsonl"
            self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._size = os.fstat(self._fd).st_size


def write_whole(fd: int, data: bytes | bytearray) -> None:
    """All of `data`, in one system call unless the system takes less."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def expire(folder: Path, *, now_ms: int, keep_days: int, keep_mb: int) -> None:
    """Delete files last written more than `keep_days` ago, then the oldest ones while all hold more than `keep_mb`."""
    found = []
    for path in folder.glob("*.jsonl"):
        status = path.stat()
        found.append((status.st_mtime_ns // 1_000_000, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for written_at, size, path in sorted(found):
        if written_at < now_ms - keep_days * _DAY_MS or total > keep_mb << 20:
            path.unlink(missing_ok=True)
            total -= size


def iter_predictions(folder: Path, start_at: int | None = None, end_at: int | None = None) -> Iterator[Prediction]:
    """Every logged prediction answered in [start_at, end_at) ms, segment by segment; within one, in order of answer."""
    for path in _segments(folder, start_at, end_at):
        for item in _records(path, Prediction):
            if (start_at is None or item.at >= start_at) and (end_at is None or item.at < end_at):
                yield item


def find_prediction(folder: Path, prediction_id: str) -> Prediction | None:
    """The logged prediction with that id, found without decoding the others."""
    at = _id_time(prediction_id)
    wanted = _HEAD + _quoted(prediction_id) + b'",'
    # The id tells the time, so its segment is nearly always among these; an id of another making needs all of them.
    for path in _segments(folder, at, None if at is None else at + 1):
        line = _find_line(path, wanted)
        if line is not None:
            return _decode(path, line, Prediction)
    return None


def count_rows(folder: Path, request_id: str) -> int:
    """How many rows are logged of a request of several, `<request id>-0` and so on; 0 for any other id."""
    at = _id_time(request_id)
    first = _quoted(f"{request_id}-")
    return sum(id_.startswith(first) for id_ in _ids(folder, at, None if at is None else at + 1))


def find_logged(folder: Path, ids: Set[str]) -> set[str]:
    """Those of `ids` that are in the log, found in one pass that decodes no record."""
    times = [_id_time(id_) for id_ in ids]
    known = [at for at in times if at is not None]
    span = (min(known), max(known) + 1) if known and len(known) == len(times) else (None, None)
    wanted = {_quoted(id_): id_ for id_ in ids}
    return {wanted[id_] for id_ in _ids(folder, *span) if id_ in wanted}


def append_feedback(folder: Path, feedback: Sequence[Feedback]) -> None:
    """Add labels. Raises StorageFull."""
    if not feedback:
        return
    data = b"".join(_encoder.encode(item) + b"\n" for item in feedback)
    path = folder / f"{feedback[0].at // _DAY_MS:06d}-{os.getpid()}-{_PROCESS}.jsonl"
    with naming_full_disk(path):
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o666)
        size = os.fstat(fd).st_size
        try:
            write_whole(fd, data)
        except BaseException:
            os.ftruncate(fd, size)
            raise
        finally:
            os.close(fd)


def read_feedback(folder: Path, start_at: int | None = None, end_at: int | None = None) -> Iterator[Feedback]:
    """Every label that came in [start_at, end_at) ms. The last one of a prediction holds."""
    for path in sorted(folder.glob("*.jsonl")):
        for item in _records(path, Feedback):
            if (start_at is None or item.at >= start_at) and (end_at is None or item.at < end_at):
                yield item


def _segments(folder: Path, start_at: int | None, end_at: int | None) -> list[Path]:
    """The segments that may hold something of [start_at, end_at), the oldest first."""
    found = []
    for path in folder.glob("*.jsonl"):
        first_at = int(path.stem.rpartition("-")[2])
        try:
            last_at = path.stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            continue  # retention was here between the listing and the look
        begun = end_at is None or first_at - _SLACK_MS < end_at
        if begun and (start_at is None or last_at + _SLACK_MS >= start_at):
            found.append((first_at, path))
    return [path for _, path in sorted(found)]


def _records(path: Path, type_: type[R]) -> Iterator[R]:
    decoder = msgspec.json.Decoder(type_)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise _damaged(path, number, error) from error


def _ids(folder: Path, start_at: int | None, end_at: int | None) -> Iterator[bytes]:
    """The id of every whole line, as it is written there."""
    for path in _segments(folder, start_at, end_at):
        # Retention may have been here since the listing.
        with suppress(FileNotFoundError), path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[len(_HEAD) : line.find(b'",', len(_HEAD))]


def _quoted(text: str) -> bytes:
    """As JSON has it between its quotes."""
    return _encoder.encode(text)[1:-1]


def _find_line(path: Path, wanted: bytes) -> bytes | None:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            # The id is the first key of its line; an input column may bear the same name further on.
            at = content.find(wanted)
            while at > 0 and content[at - 1 : at] != b"\n":
                at = content.find(wanted, at + 1)
            end = content.find(b"\n", at) if at >= 0 else -1
            return content[at:end] if end >= 0 else None


def _decode(path: Path, line: bytes, type_: type[R]) -> R:
    try:
        return msgspec.json.decode(line, type=type_)
    except msgspec.MsgspecError as error:
        raise _damaged(path, 0, error) from error


def _damaged(path: Path, number: int, error: msgspec.MsgspecError) -> DataDamaged:
    line = f" line {number}" if number else ""
    return DataDamaged(
        f"{path}{line} is not a record of this log: {error}.", hint=f"move {path} away to go on without it"
    )


def _id_time(prediction_id: str) -> int | None:
    """The milliseconds at the head of an id that a replica made."""
    try:
        return int(prediction_id[:12], 16) if len(prediction_id) >= 26 else None
    except ValueError:
        return None
