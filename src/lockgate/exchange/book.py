"""What one copy knows: its two sides, what it was asked for, what lies where by now, and how much was read."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from lockgate.errors import InvalidInput, LockgateError
from lockgate.exchange.destination import Destination, Place
from lockgate.exchange.endpoint import Endpoint

# The rows of the table at the end, in its order.
COUNTED = (
    "experiments",
    "runs",
    "params",
    "tags",
    "metric points",
    "datasets",
    "logged models",
    "model metrics",
    "registered models",
    "versions",
    "aliases",
    "artifact files",
    "artifact bytes",
)

T = TypeVar("T")
R = TypeVar("R")


class Progress(Protocol):
    """Is told of every step; `None` where nobody looks."""

    def phase(self, text: str) -> None:
        """Something else begins."""
        ...

    def advance(self, *, items: int = 1, points: int = 0) -> None: ...


@dataclass
class Book:
    """Shared by the parts of one copy. Written by one thread; the pool only reads it."""

    source: Endpoint
    target: Endpoint
    destination: Destination
    pool: ThreadPoolExecutor
    progress: Progress
    prefix: str = ""
    with_deleted: bool = False
    experiments: dict[str, str] = field(default_factory=dict)  # ids at the source -> at the target
    runs: dict[str, Place] = field(default_factory=dict)
    logged_models: dict[str, Place] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)  # names at the target
    read: Counter[str] = field(default_factory=Counter)  # what the source has, whether or not the target takes it
    refused: list[str] = field(default_factory=list)

    def refuse(self, what: str, error: LockgateError) -> None:
        """Note what the target will never accept."""
        self.refused.append(f"{what}: {error}")

    def each(self, work: Callable[[T], R], items: Sequence[T], name: Callable[[T], str]) -> list[tuple[T, R]]:
        """The work on several at once; what the target will never accept is noted, and the others go on."""
        found: list[tuple[T, R]] = []
        futures = [(item, self.pool.submit(work, item)) for item in items]
        trouble: LockgateError | None = None
        for item, future in futures:
            try:
                found.append((item, future.result()))
            except InvalidInput as error:
                self.refuse(name(item), error)
            except LockgateError as error:
                trouble = trouble or error  # after the others, which are under way already
        if trouble is not None:
            raise trouble
        return found
