"""The only source of time. A function that needs the time takes a `Clock`, so a test hands it a `FakeClock`."""

import time
from datetime import UTC, datetime
from typing import Protocol


def format_utc(at_ms: int) -> str:
    """A recorded time for people, to the second; what no calendar has, such as nanoseconds, as the number it is."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(at_ms)


class Clock(Protocol):
    """Time for records and time for waiting; both in one object so that a fake moves them together."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch: what records carry. May jump; never compare it with `monotonic`."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back: what durations and deadlines are measured with."""
        ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that moves only when told to, or slept on."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = now_ms
        self._elapsed_s = 0.0

    def now_ms(self) -> int:
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic(self) -> float:
        return self._elapsed_s

    def sleep(self, seconds: float) -> None:
        self._elapsed_s += seconds
