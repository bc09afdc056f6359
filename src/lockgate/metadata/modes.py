"""What a transaction may be, and what can come between it and its writer (see `database`)."""

from typing import Literal, TypeAlias

from lockgate.errors import Unavailable

Mode: TypeAlias = Literal["read", "brief", "measurement", "decision"]


class Raced(Unavailable):
    """Another writer came between; nothing was recorded, so the same may be done again."""


class WouldWait(Unavailable):
    """What was asked for without waiting cannot be had that way, and is to be asked for again by somebody who waits."""
