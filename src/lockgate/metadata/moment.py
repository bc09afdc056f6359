"""A measurement that keeps nobody waiting, and what it has asked of PostgreSQL."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sqlalchemy import Connection

from lockgate.metadata.modes import WouldWait


class Asked:
    """What came of a statement that was asked in a `Group`: the first column of its first row, once it `is_over`.

    Where it `is_refused` nothing was recorded, or nobody knows; it may be asked again elsewhere.
    """

    __slots__ = ("heard", "is_over", "is_refused", "value")

    def __init__(self) -> None:
        self.value: str | None = None
        self.is_over = False
        self.is_refused = False
        self.heard: Callable[[], object] | None = None  # to be called then, once

    def settle(self, value: str | None) -> None:
        self.value, self.is_over = value, True
        heard, self.heard = self.heard, None
        if heard is not None:
            heard()


class Group(Protocol):
    """Where an event loop asks PostgreSQL (see `group_commit`)."""

    connection: Connection

    def ask(self, statement: str, values: Sequence[str | bytes]) -> Asked:
        """Send it, or keep it until what was sent is answered. Raises WouldWait where nothing can be asked."""


class Moment:
    """All that an event loop has for one measurement: it waits for nobody. PostgreSQL it asks in a `group`.

    Whoever repeats with the same moment what raised WouldWait gets the answer to what was `asked`, once that is over.
    """

    __slots__ = ("_question", "asked", "group")

    def __init__(self, group: Group | None = None) -> None:
        self.group = group
        self.asked: Asked | None = None
        self._question: tuple[str, Sequence[str | bytes]] | None = None

    def value_of(self, statement: str, values: Sequence[str | bytes]) -> str | None:
        """As `libpq.value_of`. Raises WouldWait where the answer is to come, will not come, or is to something else."""
        assert self.group is not None
        question = statement, values
        if self.asked is None:
            self._question = question
            self.asked = self.group.ask(statement, values)
        if not self.asked.is_over or self.asked.is_refused or question != self._question:
            raise WouldWait("the database has not answered.")
        return self.asked.value
