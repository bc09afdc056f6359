"""What one of the two sides says no to: it is noted by its name, and everything else comes."""

from dataclasses import dataclass

from lockgate.errors import (
    AlreadyExists,
    Conflict,
    DataDamaged,
    GateFailed,
    InvalidInput,
    LockgateError,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
)

# Whatever else happens ends the copy, such as a side that does not answer, and the same command goes on.
REFUSED = (
    AlreadyExists,
    Conflict,
    DataDamaged,
    GateFailed,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,  # of an alias or a stage, where approvals are missing
)


@dataclass
class Refusals:
    """Of one thing; while there are any, its copy stays incomplete, to be tried again."""

    what: str
    lines: list[str]  # of the whole copy
    are_any: bool = False

    def __call__(self, part: str, error: LockgateError) -> None:
        self.are_any = True
        self.lines.append(f"{self.what}: {part}: {error}")
