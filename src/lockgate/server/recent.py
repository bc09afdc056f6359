"""What a request is about, remembered for a second: a training loop must not pay for finding that out at each metric.

Only what cannot change is worth remembering, such as the experiment of a run; that an experiment is renamed, or a run
deleted, is noticed after the second that changes of roles take as well.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from lockgate.clock import Clock

KEPT_S = 1.0
_MAX_KEPT = 10_000

Names = tuple[str, ...]


@dataclass(frozen=True)
class Steady:
    """Names that are the same for every request of one `key`; a key of None must be asked for each time."""

    names: Callable[[Connection, Any], Names]
    key: Callable[[Any], str | None]

    def __call__(self, connection: Connection, request: Any) -> Names:
        return self.names(connection, request)


class Recent:
    """Names by what they were found for. Threads may share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[Hashable, tuple[float, Names]] = {}

    def find(self, names: Steady, request: Any) -> Names | None:
        found = self._kept.get((names, names.key(request)))
        return found[1] if found is not None and self._clock.monotonic() < found[0] else None

    def keep(self, names: Steady, request: Any, found: Names) -> None:
        """Nothing where the request has no key."""
        key = names.key(request)
        if key is None:
            return
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()  # rare and harmless: each is found out again
        self._kept[names, key] = (self._clock.monotonic() + KEPT_S, found)
