"""What the audit has been told of measurements: one line an hour for who measures what from where, not one a value."""

from collections.abc import Hashable

_HOUR_MS = 3_600_000
_MAX_KEPT = 20_000


class Told:
    """Keys of the lines of this hour. Threads may share it: two that come at once leave a line each."""

    def __init__(self) -> None:
        self._hour = 0
        self._keys: set[Hashable] = set()

    def knows(self, key: Hashable, *, at: int) -> bool:
        """Whether `add` was called in the hour of `at`."""
        return key in self._keys and at // _HOUR_MS == self._hour

    def add(self, key: Hashable, *, at: int) -> None:
        """To be called when the line is committed."""
        hour = at // _HOUR_MS
        if hour != self._hour or len(self._keys) >= _MAX_KEPT:
            self._hour, self._keys = hour, set()  # a line too many does no harm
        self._keys.add(key)
