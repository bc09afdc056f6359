"""What every handler is handed: where the records and files are, what time it is, and who asks."""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from lockgate.clock import Clock
from lockgate.config import Settings, read_secret
from lockgate.entities import Scalar
from lockgate.metadata.audit import DONE, append_audit
from lockgate.metadata.database import Database, Tx, Where
from lockgate.metadata.modes import WouldWait
from lockgate.metadata.moment import Moment
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import open_database
from lockgate.server.act import Act
from lockgate.server.answer import pack
from lockgate.server.artifacts.open import DEFAULT_FOLDER, open_artifacts
from lockgate.server.artifacts.store import ArtifactStore
from lockgate.server.caller import Caller
from lockgate.server.needs import Need
from lockgate.server.recent import Recent
from lockgate.server.throttle import FAILURES_PER_USER, Throttle
from lockgate.server.told import Told
from lockgate.store.store import Store
from lockgate.wire.operation import Operation, Req, Res

S = TypeVar("S")
T = TypeVar("T")

DATABASE_NAME = "lockgate.db"


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One installation as one caller sees it."""

    database: Database
    artifacts: ArtifactStore
    store: Store
    clock: Clock
    caller: Caller
    recent: Recent
    told: Told
    guesses: Throttle  # by user: wrong passwords of who is logged in already
    act: Act | None = None  # the operation that is being carried out
    moment: Moment | None = None  # of the event loop: transactions are brief (see `Database.write`)
    audit_days: int = 0  # how long the audit is kept; 0 means for ever
    webhook_private_addresses: bool = False  # whether webhooks may go to this machine and its networks
    answers_in_json: bool = False  # and not as structs, to this process

    @property
    def user(self) -> str:
        """The name that is recorded with what is done."""
        return self.caller.name

    @property
    def has_asked(self) -> bool:
        """Whether this is a repetition that only hears the answer."""
        return self.moment is not None and self.moment.asked is not None

    def read(self) -> AbstractContextManager[Connection]:
        return self.database.read()

    def write(self, *, decision: bool = True, is_single: bool = False) -> AbstractContextManager[Tx]:
        """One write transaction in the caller's name, with its line in the audit.

        `decision` False is for measurements, which get a line an hour (`Told`); for `is_single` see `Database`. Raises
        WouldWait where that line is due and there is no time for it.
        """
        act = self.act
        if act is not None and decision:
            return self._audited(act)
        if act is not None and not act.is_decision:  # or the decision has its line, and this only ends it
            measured = act.measured()
            key = self.user, self.caller.address, act.operation, measured
            at = self.clock.now_ms()
            if not self.has_asked and not self.told.knows(key, at=at):  # or the next one tells
                return self._telling(at, act, measured, key)
        return self.database.write(
            at=self.clock.now_ms,
            by=self.user,
            decision=decision,
            is_single=is_single,
            moment=self.moment,
        )

    @contextmanager
    def _audited(self, act: Act) -> Iterator[Tx]:
        with self.database.write(at=self.clock.now_ms, by=self.user, moment=self.moment) as tx:
            act.is_decision = True
            subject = act.subject(tx.connection)  # beforehand: of what is deleted nothing could be asked later
            yield tx
            self.audit(tx, act, subject=subject, outcome=DONE, details=act.details())

    @contextmanager
    def _telling(self, at: int, act: Act, measured: tuple[str, str], key: Hashable) -> Iterator[Tx]:
        if self.moment is not None:
            raise WouldWait("the audit is to be told of it.")
        with self.database.write(at=self.clock.now_ms, by=self.user, decision=False) as tx:
            yield tx
            # Not which metric or tag: the line stands for all of the hour.
            self.audit(tx, act, subject=act.subject(tx.connection), outcome=DONE, details=dict([measured]))
        self.told.add(key, at=at)

    def in_parts(self, items: Sequence[S], size: int, make: Callable[[Sequence[S]], Sequence[T]]) -> tuple[T, ...]:
        """What `make` makes of all items, `size` of them at a time: for a field of answers that may be very long."""
        made = (make(items[start : start + size]) for start in range(0, len(items), size))
        return pack(made) if self.answers_in_json else tuple(chain.from_iterable(made))

    def tell(self, act: Act, *, outcome: str = DONE) -> None:
        """Write the line of what is no transaction, such as an upload."""
        with self.database.write(at=self.clock.now_ms, by=self.user, decision=False) as tx:
            self.audit(tx, act, subject=act.subject(tx.connection), outcome=outcome, details=act.details())

    def audit(self, tx: Tx, act: Act, *, subject: str, outcome: str, details: Mapping[str, Scalar]) -> None:
        """Write one line of the audit."""
        append_audit(
            tx,
            act.operation,
            address=self.caller.address,
            subject=subject,
            outcome=outcome,
            details=details,
            keep_days=self.audit_days,
        )

    def configured(self, settings: Settings) -> "Context":
        """With what the settings say."""
        return replace(
            self, audit_days=settings.audit_days, webhook_private_addresses=settings.webhook_private_addresses
        )

    def on_behalf_of(self, caller: Caller) -> "Context":
        return replace(self, caller=caller)

    def doing(self, act: Act, *, moment: Moment | None = None) -> "Context":
        return replace(self, act=act, moment=moment)

    def close(self) -> None:
        self.database.close()


def open_context(
    state: Path,
    *,
    user: str,
    clock: Clock,
    artifacts: str = "",
    database: str = "",
    environ: Mapping[str, str] = os.environ,
) -> Context:
    """The installation that lives in `state`, made when absent. Raises Conflict where it must be migrated.

    `artifacts` and `database` are the settings of that name; empty means that they are in `state` as well. `database`
    may point into `environ`. Raises InvalidInput for settings that name no place, Unavailable for a PostgreSQL that
    lets nobody in.
    """
    return Context(
        database=open_database(database_place(state, database, environ=environ), now_ms=clock.now_ms()),
        artifacts=open_artifacts(artifacts, default=state / DEFAULT_FOLDER),
        store=Store(state / "store"),
        clock=clock,
        caller=Caller(user),
        recent=Recent(clock),
        told=Told(),
        guesses=Throttle(clock, per_minute=FAILURES_PER_USER),
    )


def database_place(state: Path, setting: str, *, environ: Mapping[str, str] = os.environ) -> Where:
    """What the setting `database` points at; empty means a file in `state`. Raises InvalidInput."""
    if not setting:
        return state / DATABASE_NAME
    return parse_address(read_secret(setting, environ=environ).strip())


def open_installation(
    state: Path, *, settings: Settings, user: str, clock: Clock, environ: Mapping[str, str] = os.environ
) -> Context:
    """`open_context` as the settings say."""
    context = open_context(
        state, user=user, clock=clock, artifacts=settings.artifacts, database=settings.database, environ=environ
    )
    return context.configured(settings)


@dataclass(frozen=True)
class Route(Generic[Req, Res]):
    """One row of the table: an operation, the function that performs it, and what it asks of the caller.

    One that `is_brief` is one measurement, which takes the database no more time than to ask another thread for it.
    """

    operation: Operation[Req, Res]
    handler: Callable[[Context, Req], Res]
    need: Need
    is_brief: bool = False


AnyRoute = Route[Any, Any]  # the table holds routes of every pair of types
