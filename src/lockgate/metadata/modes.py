"""What a transaction may be, and what can come between it and its writer (see `database`)."""

from typing import Literal, NamedTuple, TypeAlias

from sqlalchemy import Connection

from lockgate.errors import Unavailable


class Moment(NamedTuple):
    """How long an event loop may stand still: until there is something to read from `events`, a file descriptor.

    That tells the loop of all that comes from outside, but not of its timers, so there is a limit as well.
    """

    events: int
    limit_ms: int = 2


Mode: TypeAlias = Literal["read", "brief", "measurement", "decision"]


class Raced(Unavailable):
    """Another writer came between; nothing was recorded, so the same may be done again."""


class WouldWait(Unavailable):
    """What was asked for without waiting cannot be had that way, and is to be asked for again by somebody who waits.

    Nothing was recorded, or the answer that says so is `owed`: it is still to come on that connection.
    """

    owed: Connection | None = None
