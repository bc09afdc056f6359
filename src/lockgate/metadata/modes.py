"""What a transaction may be, and what can come between it and its writer (see `database`)."""

from typing import Literal, TypeAlias

from sqlalchemy import Connection

from lockgate.errors import Unavailable

Mode: TypeAlias = Literal["read", "brief", "measurement", "decision"]


class Raced(Unavailable):
    """Another writer came between; nothing was recorded, so the same may be done again."""


class WouldWait(Unavailable):
    """What was asked for without waiting cannot be had that way, and is to be asked for again by somebody who waits.

    Nothing was recorded, or the answer that says so is `owed`: it is still to come on that connection.
    """

    owed: Connection | None = None
