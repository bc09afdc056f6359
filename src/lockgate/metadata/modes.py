"""What a transaction may be, and what can come between it and its writer (see `database`)."""

from typing import Literal, TypeAlias

from lockgate.errors import InvalidInput, Unavailable

Mode: TypeAlias = Literal["read", "brief", "measurement", "decision"]

# A read that takes longer keeps others from reading, and whoever asked for it repeats it soon.
READ_LIMIT_S = 30.0


class Raced(Unavailable):
    """Another writer came between; nothing was recorded, so the same may be done again."""


class WouldWait(Unavailable):
    """What was asked for without waiting cannot be had that way, and is to be asked for again by somebody who waits."""


class TooSlow(InvalidInput):
    """A read took longer than it may. To repeat it would not help, so it is no `Unavailable`."""

    def __init__(self) -> None:
        super().__init__(
            "this takes the database longer than a read may, and was given up.",
            hint="ask for less: fewer comparisons joined by OR, no LIKE with many %, a smaller page or part; "
            "or again, if the database has just been started",
        )
