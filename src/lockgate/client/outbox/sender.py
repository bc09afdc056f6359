"""The thread that sends one run's segments, oldest first, and keeps trying.

little to send    send it, and look again after 50 ms or when woken: a loop's steps go together, not one by one
trouble           again after 0.2 s, doubled each time to 30 s at most, less up to half of it at random
the run is gone   the same, as it may be restored; until then `stopped_by` says why, to who would wait for nothing
"""

import contextlib
import logging
import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from lockgate.client.outbox.delivery import NoRole, Refusal, RunClosed, deliver
from lockgate.client.outbox.leftovers import Kept, deliver_leftovers
from lockgate.client.outbox.segment import Segment
from lockgate.client.tracking import Tracking
from lockgate.clock import Clock
from lockgate.errors import DataDamaged, LockgateError, NotFound, TooManyRequests, Unavailable

log = logging.getLogger("lockgate.outbox")

_IDLE_S = 0.05
_FULL_BYTES = 1 << 18  # about a request of as many values as it takes
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 30.0
_LONGEST_ASKED_PAUSE_S = 300.0  # by the server: a day is a mistake, and more seconds than a clock has are possible
_REFUSALS_KEPT = 20


class Sender:
    """Started by `start`. `segments` is filled by the outbox; all but the last are complete."""

    def __init__(
        self, folder: Path, run_id: str, tracking: Tracking, *, home: str | Path, clock: Clock, rng: random.Random
    ) -> None:
        self.segments: deque[Segment] = deque()
        self.acknowledged = 0  # bytes of records
        self.apart: deque[Path] = deque()  # records of this run that have a file for themselves, by the outbox
        self.apart_sent = 0  # how many of them
        self.trouble: LockgateError | None = None  # why the last attempt failed
        self.refusals: list[Refusal] = []
        self.refused = 0
        self._folder = folder
        self._run_id = run_id
        self._tracking = tracking
        self._home = home
        self._clock = clock
        self._rng = rng
        self._moved = threading.Condition()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # an Event's lock would deadlock signal handlers
        self._is_ending = False
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="lockgate-outbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Try now."""
        self._wake.put(None)

    @property
    def stopped_by(self) -> LockgateError | None:
        """What will not pass by waiting, as far as the last attempt knows."""
        error = self.trouble
        return error if isinstance(error, RunClosed | DataDamaged) and not isinstance(error, NoRole) else None

    def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Whether it came true, looked at whenever something was acknowledged.

        Ends early where an attempt that ends meanwhile says that waiting does not help.
        """
        known = self.stopped_by
        deadline = None if timeout_s is None else self._clock.monotonic() + timeout_s
        with self._moved:
            while not condition():
                left = None if deadline is None else deadline - self._clock.monotonic()
                if self.stopped_by not in (None, known) or (left is not None and left <= 0):
                    return False
                self._moved.wait(left)
        return True

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def end(self, timeout_s: float) -> bool:
        """End the thread, which deletes what was sent, and where that is all sends what others left of the run.

        False where that takes longer, and the segments are still in use.
        """
        self._is_ending = True
        self.wake()
        self._thread.join(timeout_s)
        return not self.is_running

    def _send_leftovers(self, run_id: str | None = None) -> list[Kept]:
        """What processes that are gone left in the folder, as far as our server knows their runs; what stays there."""
        found = deliver_leftovers(self._folder, self._tracking, home=self._home, run_id=run_id, alone=self._sending)
        for refusal in found.refused:
            self._refuse(refusal)
        for kept in found.kept:
            if not isinstance(kept.error, NotFound):  # a run of another server
                log.warning("what an earlier process logged stays in %s: %s", kept.path, kept.error)
        return found.kept

    @property
    def is_busy(self) -> bool:
        """Whether a batch is on its way."""
        return self._sending.locked()

    def forget_sent(self) -> None:
        """Delete segments that were sent whole, the last one as well; nobody may be appending."""
        with self._sending:
            while self.segments and self.segments[0].sent == self.segments[0].size:
                self.segments.popleft().delete()

    def hold_still(self, timeout_s: float) -> bool:
        """Keep the thread from being in the middle of something, until `go_on`; False where that takes too long."""
        return self._sending.acquire(timeout=timeout_s)

    def go_on(self) -> None:
        self._sending.release()

    def _run(self) -> None:
        attempts, is_first = 0, True
        while not self._is_ending:
            try:
                if is_first:
                    is_first = False
                    self._send_leftovers()
                self._send_all()
                self._send_apart()
                attempts, pause = 0, _IDLE_S
                self.trouble = None
            except LockgateError as error:
                attempts += 1
                pause = self._pause_after(attempts, error)
            except Exception as error:  # a thread has nobody to raise to, and what is on disk must not be given up
                log.exception("values could not be sent; they are kept, and sent again")
                attempts += 1
                pause = self._pause_after(attempts, Unavailable(f"{type(error).__name__}: {error}"))
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=pause)
                while True:
                    self._wake.get_nowait()
        try:
            self.forget_sent()
            if not self.segments:
                self._send_leftovers(self._run_id)
        except Exception:
            log.exception("what other processes left of the run could not be sent; it is kept")

    def _send_all(self) -> None:
        while self.segments:
            segment, is_complete = self.segments[0], len(self.segments) > 1
            before = segment.sent
            deliver(segment, self._tracking, refuse=self._refuse, acknowledged=self._acknowledge, alone=self._sending)
            if is_complete:
                self.segments.popleft().delete()
            elif segment.size - segment.sent < _FULL_BYTES or segment.sent == before:
                return

    def _send_apart(self) -> None:
        """Raises why the first that is left was not sent."""
        if not self.apart:
            return
        kept = {item.path: item.error for item in self._send_leftovers(self._run_id)}
        with self._moved:
            while self.apart and not self.apart[0].exists():
                self.apart.popleft()
                self.apart_sent += 1
            self._moved.notify_all()
        if self.apart and (error := kept.get(self.apart[0])) is not None:
            raise error

    def _acknowledge(self, size: int) -> None:
        if self.trouble is not None:
            log.warning("values are sent again.")
            self.trouble = None
        with self._moved:
            self.acknowledged += size
            self._moved.notify_all()

    def _refuse(self, refusal: Refusal) -> None:
        self.refused += 1
        if len(self.refusals) < _REFUSALS_KEPT:
            self.refusals.append(refusal)
            log.error("refused: %s", refusal)

    def _pause_after(self, attempts: int, error: LockgateError) -> float:
        before, was_stopped = self.trouble, self.stopped_by is not None
        with self._moved:
            self.trouble = error
            self._moved.notify_all()
        if before is None or (self.stopped_by is not None and not was_stopped):
            log.warning("values cannot be sent, training goes on and they are kept: %s", error)
        pause = min(_FIRST_PAUSE_S * (1 << min(attempts - 1, 10)), _LONGEST_PAUSE_S) * self._rng.uniform(0.5, 1.0)
        if isinstance(error, TooManyRequests):
            pause = max(pause, min(error.retry_after_s, _LONGEST_ASKED_PAUSE_S))
        return pause
