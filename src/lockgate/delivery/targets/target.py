"""The seam between deciding on traffic and moving it."""

from typing import Protocol

from lockgate.entities import Observation, Traffic


class Target(Protocol):
    """A place where an environment is served."""

    def apply(self, traffic: Traffic) -> None:
        """Make replicas serve `traffic`. Idempotent; an older revision never replaces a newer one."""
        ...

    def observe(self) -> tuple[Observation, ...]:
        """What replicas said last, each with the traffic revision it serves and its counts."""
        ...
