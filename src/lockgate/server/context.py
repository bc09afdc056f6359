"""What every handler is handed: where the records and files are, what time it is, and who asks."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from sqlalchemy import Connection

from lockgate.clock import Clock
from lockgate.metadata.database import Database, Tx
from lockgate.metadata.schema import open_database
from lockgate.server.artifacts import ArtifactFolder
from lockgate.store.store import Store
from lockgate.wire.operation import Operation, Req, Res

DATABASE_NAME = "lockgate.db"


@dataclass(frozen=True)
class Context:
    """One installation as one caller sees it."""

    database: Database
    artifacts: ArtifactFolder
    store: Store
    clock: Clock
    user: str

    def read(self) -> AbstractContextManager[Connection]:
        return self.database.read()

    @contextmanager
    def write(self, *, decision: bool = True) -> Iterator[Tx]:
        """One write transaction in the caller's name; `decision` False for measurements (see `Database`)."""
        with self.database.write(at=self.clock.now_ms(), by=self.user, decision=decision) as tx:
            yield tx

    def as_user(self, user: str) -> "Context":
        return dataclasses.replace(self, user=user)

    def close(self) -> None:
        self.database.close()


def open_context(state: Path, *, user: str, clock: Clock) -> Context:
    """The installation that lives in `state`, made when absent. Raises Conflict where it must be migrated."""
    return Context(
        database=open_database(state / DATABASE_NAME),
        artifacts=ArtifactFolder(state / "artifacts"),
        store=Store(state / "store"),
        clock=clock,
        user=user,
    )


@dataclass(frozen=True)
class Route(Generic[Req, Res]):
    """One row of the table: an operation and the function that performs it."""

    operation: Operation[Req, Res]
    handler: Callable[[Context, Req], Res]


AnyRoute = Route[Any, Any]  # the table holds routes of every pair of types
