"""How often somebody may be wrong: a bucket of attempts a key, refilled with time.

An attempt is paid for before it is judged and given back where it was right, so a hundred at once are a hundred
attempts.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from lockgate.clock import Clock
from lockgate.errors import TooManyRequests

FAILURES_PER_USER = 10  # a minute
_MAX_KEYS = 10_000


@dataclass
class _Bucket:
    left: float
    at: float


class Throttle:
    """`per_minute` attempts a minute for each key, and as many at once."""

    def __init__(self, clock: Clock, *, per_minute: int) -> None:
        self._clock = clock
        self._size = float(per_minute)
        self._per_s = per_minute / 60
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, key: str) -> float:
        """Seconds until another attempt is allowed; 0 where it is now."""
        with self._lock:
            return self._wait_s(self._bucket(key))

    def take(self, key: str) -> None:
        """Pay for one attempt. Raises TooManyRequests where there is nothing left to pay with."""
        with self._lock:
            bucket = self._bucket(key)
            wait_s = self._wait_s(bucket)
            if wait_s > 0:
                raise TooManyRequests("too many failed logins; try again later.", retry_after_s=wait_s)
            bucket.left -= 1

    def give_back(self, key: str) -> None:
        """The attempt was right."""
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                return
            bucket.left += 1
            if bucket.left >= self._size:
                del self._buckets[key]  # or names that somebody invents would crowd out those that are guessed at

    def _wait_s(self, bucket: _Bucket) -> float:
        return max(0.0, (1 - bucket.left) / self._per_s)

    def _bucket(self, key: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MAX_KEYS:
                self._buckets.popitem(last=False)  # the one that has been left alone for longest
            bucket = self._buckets[key] = _Bucket(self._size, now)
        self._buckets.move_to_end(key)
        bucket.left = min(self._size, bucket.left + (now - bucket.at) * self._per_s)
        bucket.at = now
        return bucket
