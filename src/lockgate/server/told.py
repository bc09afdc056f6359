"""What the audit has been told of measurements: one line an hour for who measures what from where, not one a value."""

from collections.abc import Hashable

_HOUR_MS = 3_600_000
_MAX_KEPT = 20_000


class Told:
    """Hours and keys of lines that were written. Threads may share it: two that come at once leave a line each.

    Of each only its hash is kept, a third of what they take: two of twenty thousand have the same one time in 10^11.
    """

    def __init__(self) -> None:
        self._told: set[int] = set()

    def knows(self, key: Hashable, *, at: int) -> bool:
        """Whether `add` was called in the hour of `at`."""
        return hash((at // _HOUR_MS, key)) in self._told

    def add(self, key: Hashable, *, at: int) -> None:
        """To be called when the line is committed."""
        if len(self._told) >= _MAX_KEPT:
            self._told.clear()  # a line too many does no harm
        self._told.add(hash((at // _HOUR_MS, key)))
