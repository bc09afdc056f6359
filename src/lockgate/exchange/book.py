"""What one copy knows: its two sides, what it was asked for, what lies where by now, and how much was read."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from lockgate.errors import InvalidInput, LockgateError, NotFound
from lockgate.exchange.destination import Destination, Place
from lockgate.exchange.endpoint import Endpoint
from lockgate.wire.mlflow.experiments import Experiment
from lockgate.wire.mlflow.registry import RegisteredModel

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
    """Shared by the parts of one copy. Written by one thread; the pool only reads it, and may refuse."""

    source: Endpoint
    target: Endpoint
    destination: Destination
    pool: ThreadPoolExecutor
    progress: Progress
    prefix: str = ""
    with_deleted: bool = False
    experiments: dict[str, str] = field(default_factory=dict)  # ids at the source -> at the target
    copies: dict[str, Experiment] = field(default_factory=dict)  # by origin, as they were before this copy
    runs: dict[str, Place] = field(default_factory=dict)
    logged_models: dict[str, Place] = field(default_factory=dict)
    model_copies: list[RegisteredModel] = field(default_factory=list)  # as they were before this copy
    names: frozenset[str] = frozenset()  # of registered models at the source
    models: set[str] = field(default_factory=set)  # names at the target
    versions: set[tuple[str, str]] = field(default_factory=set)  # (name at the target, number)
    read: Counter[str] = field(default_factory=Counter)  # what the source has, whether or not the target takes it
    refused: list[str] = field(default_factory=list)

    def refusing(self, what: str) -> "Refusals":
        """For the parts of one thing, such as a run."""
        return Refusals(self, what)

    def refuse(self, what: str, error: LockgateError) -> None:
        """Note what the source cannot give, or the target will never accept."""
        self.refused.append(f"{what}: {error}")

    def each(self, work: Callable[[T], R], items: Sequence[T], name: Callable[[T], str]) -> list[tuple[T, R]]:
        """The work on several at once; what is refused for good is noted, and the others go on."""
        found: list[tuple[T, R]] = []
        futures = [(item, self.pool.submit(work, item)) for item in items]
        trouble: LockgateError | None = None
        for item, future in futures:
            try:
                found.append((item, future.result()))
            except (InvalidInput, NotFound) as error:
                self.refuse(name(item), error)
            except LockgateError as error:
                trouble = trouble or error  # after the others, which are under way already
        if trouble is not None:
            raise trouble
        return found


@dataclass
class Refusals:
    """What of one thing is refused, a call for each part. Then its copy stays incomplete, to be tried again."""

    book: Book
    what: str
    are_any: bool = False

    def __call__(self, part: str, error: LockgateError) -> None:
        self.are_any = True
        self.book.refuse(f"{self.what}: {part}", error)
