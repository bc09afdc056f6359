"""What a transaction may be, and that another writer may come between (see `database`)."""

from typing import Literal, TypeAlias

from lockgate.errors import Unavailable

Mode: TypeAlias = Literal["read", "measurement", "decision"]


class Raced(Unavailable):
    """Another writer came between; nothing was recorded, so the same may be done again."""
