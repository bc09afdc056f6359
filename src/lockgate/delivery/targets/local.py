"""Replicas on this machine: traffic is one file, observations are others, and a folder is all they share."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockgate.entities import Observation, Traffic
from lockgate.errors import DataDamaged
from lockgate.serving.traffic import read_observations, read_traffic, write_traffic

# Counts of replicas that stopped still count for the step they served in; older files belong to nobody.
_OBSERVATIONS_MAX_AGE_MS = 86_400_000


class LocalTarget:
    """One environment's folder `<state>/serving/<environment>`."""

    def __init__(self, state: Path, environment: str) -> None:
        self.folder = state / "serving" / environment

    def apply(self, traffic: Traffic) -> None:
        """Publish `traffic`, unless something newer is there. Repeating it changes nothing."""
        with self._alone():
            present = self._published()
            if present == traffic:
                return
            # Two drivers may race to here; the slower one must not publish what it read before the faster one wrote.
            # A revision alone would not do: it starts again where a database was deleted.
            if present and present.revision > traffic.revision and present.changed_at >= traffic.changed_at:
                return
            write_traffic(self.folder, traffic)

    def observe(self) -> tuple[Observation, ...]:
        """The last word of every replica that served here within a day."""
        return tuple(read_observations(self.folder, _OBSERVATIONS_MAX_AGE_MS))

    def _published(self) -> Traffic | None:
        try:
            return read_traffic(self.folder)
        except DataDamaged:
            return None  # whatever it was, it is replaced by what the records say

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "traffic.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
