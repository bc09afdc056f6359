"""What one copy knows: its two sides, what it was asked for, what lies where by now, and how much was read."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, TypeVar

from lockgate.errors import LockgateError
from lockgate.exchange.destination import Destination, Place
from lockgate.exchange.endpoint import Endpoint
from lockgate.exchange.refused import REFUSED, Refusals
from lockgate.wire.mlflow.experiments import Experiment

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
    "model links",
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
    models: set[str] = field(default_factory=set)  # names at the target
    versions: set[tuple[str, str]] = field(default_factory=set)  # (name at the target, number)
    read: Counter[str] = field(default_factory=Counter)  # what the source has, whether or not the target takes it
    refused: list[str] = field(default_factory=list)
    # MLflow's server fails where two requests at a time name a dataset that it does not know yet.
    naming_datasets: Lock = field(default_factory=Lock)

    def parts_of(self, what: str) -> Refusals:
        """For what is refused of one thing, such as a run."""
        return Refusals(what, self.refused)

    @contextmanager
    def refusing(self, what: str) -> Iterator[None]:
        """What is refused in it is noted, and ends it."""
        try:
            yield
        except REFUSED as error:
            self.refuse(what, error)

    def refuse(self, what: str, error: LockgateError) -> None:
        """Note what the source cannot give, or the target will never accept."""
        self.refused.append(f"{what}: {error}")

    def each(self, work: Callable[[T], R], items: Sequence[T], name: Callable[[T], str]) -> list[tuple[T, R]]:
        """The work on several at once; what is refused is noted, and the others go on."""
        futures = [(item, self.pool.submit(work, item)) for item in items]
        for future in as_completed(future for _, future in futures):
            error = future.exception()
            if error is not None and not isinstance(error, REFUSED):
                raise error  # at once: the others may wait for the same silent server
        found = []
        for item, future in futures:
            with self.refusing(name(item)):
                found.append((item, future.result()))
        return found
