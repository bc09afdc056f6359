"""What a training loop calls: `append` returns when the record is in a file, some microseconds later.

The outbox is bounded. When `limit_bytes` wait to be sent, or the disk is full, `append` waits until the sender has
made room: training slows down to the speed of the server, and nothing is dropped.

A call that comes while a record cannot join the others (a signal handler's in the middle of an append, a thread's whose
run another one has just ended) has a file for itself. A sender finds that as it finds what a killed process left.
"""

import errno
import itertools
import logging
import random
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lockgate.client.outbox.batch import Record, encode
from lockgate.client.outbox.segment import Framed, Header, Segment, frame
from lockgate.client.outbox.sender import Sender
from lockgate.client.tracking import Tracking
from lockgate.clock import Clock
from lockgate.config import Settings
from lockgate.errors import DeadlineExceeded, InvalidInput, LockgateError, StorageFull
from lockgate.store.atomic import naming_full_disk

log = logging.getLogger("lockgate.outbox")

# A segment is deleted as a whole, so this is by how much the files may exceed the limit.
_SEGMENT_BYTES = 4 << 20
_LOOK_AGAIN_S = 0.5
_JOIN_LIMIT_S = 2.0


def outbox_folder(
    settings: Settings, state: Path | None, *, environ: Mapping[str, str], home: Path | None
) -> Path | None:
    """Where a process keeps its outbox: the setting, the project's state folder, or the user's; None without any."""
    if settings.outbox:
        return Path(settings.outbox).absolute()
    if state is not None:
        return state / "outbox"
    user = environ.get("XDG_STATE_HOME") or (home and home / ".local" / "state")
    return Path(user).absolute() / "lockgate" / "outbox" if user else None


class Outbox:
    """The outbox of one process for one run. `append` may be called by several threads and by signal handlers."""

    def __init__(
        self,
        folder: Path,
        header: Header,
        tracking: Tracking,
        *,
        home: str | Path = "",
        limit_bytes: int,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.folder = folder
        self._header = header
        self._limit = limit_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max(limit_bytes // 4, 1))
        self._name = _new_name(header.run_id)
        self._made = 0
        self._apart_name, self._apart_numbers = _new_name(header.run_id), itertools.count()
        self._last: Segment | None = None
        self._appended = 0
        self._lock = threading.RLock()
        self._is_writing = False
        self._is_closed = False
        self._waiting: set[int] = set()  # threads
        self._has_warned = False
        self._clock = clock
        self._sender = Sender(folder, header.run_id, tracking, home=home, clock=clock, rng=rng)
        self._sender.start()

    @property
    def pending_bytes(self) -> int:
        """What the server has not acknowledged."""
        return self._appended - self._sender.acknowledged

    @property
    def is_sending(self) -> bool:
        """Whether the thread that sends is there; not after `close`, except where a request takes too long."""
        return self._sender.is_running

    @property
    def has_sent(self) -> bool:
        """Whether the server has acknowledged anything."""
        return self._sender.acknowledged > 0

    def append(self, record: Record, *, may_wait: bool = True) -> None:
        """Keep a record and send it soon. `may_wait` False ignores the limit.

        Raises StorageFull where the disk is full and waiting would not help, because nothing is left to be sent; and
        what the server said where the outbox is full and the server will never take the run.
        """
        framed = frame(encode(record))
        while True:
            with self._lock:
                if self._is_writing or self._is_closed or (self._waiting and threading.get_ident() in self._waiting):
                    self._keep_apart(framed)
                    return
                try:
                    self._is_writing = True
                    lacking = self._write(framed, may_wait)
                finally:
                    self._is_writing = False
            if not lacking:
                return
            self._wait_for_room(lacking)  # without the lock, so that others can end the run meanwhile

    def wait(self, timeout_s: float) -> LockgateError | None:
        """Until everything that was appended so far was acknowledged; the error says what then remains, and why."""
        sender, target = self._sender, self._appended
        apart = sender.apart_sent + len(sender.apart)
        sender.wake()
        done = sender.wait_until(lambda: sender.acknowledged >= target and sender.apart_sent >= apart, timeout_s)
        return None if done else self._remaining(timeout_s)

    def flush(self, timeout_s: float) -> None:
        """Return when everything that was appended so far was acknowledged.

        Raises DeadlineExceeded saying what remains and why, or the reason why it will never be sent; and InvalidInput
        that lists what was refused since the last flush.
        """
        remains = self.wait(timeout_s)
        if remains is not None:
            raise remains
        refused = self.take_refusals()
        if refused is not None:
            raise refused

    def close(self, timeout_s: float) -> LockgateError | None:
        """Send what is left, for so long; the error says what then remains, and where."""
        limit = self._clock.monotonic() + timeout_s
        self.wait(timeout_s)
        with self._lock:
            self._is_closed = True
        is_all_sent = self.wait(limit - self._clock.monotonic()) is None  # with what came meanwhile
        if self._sender.end(max(limit - self._clock.monotonic(), _JOIN_LIMIT_S)):
            self.let_go()
        return None if is_all_sent else self._remaining(timeout_s)

    def take_refusals(self) -> InvalidInput | None:
        """What was refused since this was last asked, as one error."""
        count, self._sender.refused = self._sender.refused, 0
        listed = self._sender.refusals[:]
        self._sender.refusals.clear()
        if not count:
            return None
        more = f"\n  and {count - len(listed)} more" if count > len(listed) else ""
        lines = "".join(f"\n  {refusal}" for refusal in listed)
        return InvalidInput(f"{count} of the logged names were refused by the server:{lines}{more}")

    # -- around a fork ------------------------------------------------------------------------------------------------

    def hold_still(self, timeout_s: float) -> bool:
        """See `Sender.hold_still`."""
        return self._sender.hold_still(timeout_s)

    def go_on(self) -> None:
        self._sender.go_on()

    def let_go(self) -> None:
        """Close the files; in a forked child, where they and their lock are the parent's alone, nothing else is due."""
        for segment in self._sender.segments:
            segment.close()

    # -- writing ------------------------------------------------------------------------------------------------------

    def _write(self, record: Framed, may_wait: bool) -> str:
        """Empty, or what lacks room: nothing was written then."""
        size = len(record)
        if may_wait and self.pending_bytes and self.pending_bytes + size > self._limit:
            return f"{self._limit >> 20} MB (the setting outbox_mb) wait to be sent"
        while self._last is None or not self._last.has_room(record):
            try:
                with _naming_no_room(self.folder):
                    self._begin_segment(size)
            except StorageFull as error:
                if not may_wait or (not self.pending_bytes and self._last is None):
                    raise
                if not self._has_made_room():
                    return f"the disk of {self.folder} takes no further file ({error.__cause__})"
        self._last.append(record)
        self._appended += size
        return ""

    def _keep_apart(self, record: Framed) -> None:
        """In a file that is whole at once and nobody's: our sender finds it, or the next script's."""
        header = msgspec.structs.replace(self._header, begin=None) if self.has_sent else self._header
        name = f"{self._apart_name}-{next(self._apart_numbers):06}"  # in order: a tag may be set again
        with _naming_no_room(self.folder):
            segment = Segment.create(self.folder, name, header, room=len(record))
        segment.append(record)
        segment.close()
        self._sender.apart.append(segment.path)

    def _begin_segment(self, size: int) -> None:
        room = max(self._segment_bytes, size)
        # The run begins with the first: what is purged meanwhile must not begin anew with a later one.
        header = self._header if self._made == 0 else msgspec.structs.replace(self._header, begin=None)
        segment = Segment.create(self.folder, f"{self._name}-{self._made:06}", header, room=room)
        self._made += 1
        self._last = segment
        self._sender.segments.append(segment)

    def _has_made_room(self) -> bool:
        """By deleting what was sent."""
        if self.pending_bytes or self._sender.is_busy:
            return False
        self._sender.forget_sent()
        self._last = None
        return True

    def _wait_for_room(self, why: str) -> None:
        if (stopped := self._sender.stopped_by) is not None:
            raise stopped
        if not self._has_warned:
            self._has_warned = True
            log.warning("%s: logging waits until there is room.", why)
        before, thread = self._sender.acknowledged, threading.get_ident()
        try:
            self._waiting.add(thread)
            self._sender.wait_until(lambda: self._sender.acknowledged > before, _LOOK_AGAIN_S)
        finally:
            self._waiting.discard(thread)

    def _remaining(self, timeout_s: float) -> LockgateError:
        kept = f"{self.pending_bytes:,} bytes of logged values remain in {self.folder}"
        if (stopped := self._sender.stopped_by) is not None:
            return InvalidInput(f"{kept}: {stopped.message}", hint=stopped.hint)
        trouble = self._sender.trouble
        reason = trouble.message if trouble else "the server is slower than that."
        hint = "lockgate runs flush sends them"
        if not self._is_closed:  # and they are nobody else's to send
            hint = "this script sends them as long as it runs; what it leaves, the next one or lockgate runs flush"
        return DeadlineExceeded(f"{kept}, not sent within {timeout_s:g} s: {reason}", hint=hint)


@contextmanager
def _naming_no_room(folder: Path) -> Iterator[None]:
    """Turns what deleting a sent file would help against into StorageFull: a full disk, and too many open files."""
    try:
        with naming_full_disk(folder):
            yield
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise StorageFull(
            f"no file in {folder} could be opened: {error.strerror}.",
            hint="allow more with ulimit -n, or close files, connections and threads",
        ) from error


def _new_name(run_id: str) -> str:
    """So long that no two of a run are ever the same: a file takes the place of another of its name."""
    return f"{run_id}-{secrets.token_hex(8)}"
