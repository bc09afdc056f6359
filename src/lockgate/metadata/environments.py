"""The environments that a model is promoted through, as its `lockgate.yaml` last declared them to this server.

The file is the truth; this copy lets the server hold clients to it that never saw the file, MLflow's among them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event
from lockgate.metadata.models import ensure_model
from lockgate.metadata.releases import has_releases
from lockgate.metadata.tables import environments
from lockgate.project import CHAMPION, MAX_APPROVALS, environment_problems


class KnownEnvironment(NamedTuple):
    """One step of promotion, and how many people must say yes to it."""

    name: str
    approvals: int


class Change(NamedTuple):
    """How many approvals an alias asks for; None where it stands for no environment."""

    alias: str
    before: int | None
    after: int | None

    def __str__(self) -> str:
        return f"{self.alias}: {_number(self.before)} -> {_number(self.after)}"


def declare_environments(tx: Tx, model: str, approvals: Mapping[str, int], *, may_loosen: bool) -> tuple[Change, ...]:
    """Remember the environments, in the order of promotion, with the approvals that each needs; what that changed.

    Without `may_loosen` no alias asks for less than before, in whatever capitals: an environment that is known already
    stays, none needs fewer approvals, and the last one, which the champion stands for, stays the last.
    """
    ensure_model(tx, model)
    if not (approvals or may_loosen):
        return ()  # who forgets nothing and asks for nothing
    declared = list_environments(tx.connection, model)
    known = environments_of(tx.connection, model)
    _require_valid(approvals, beside=() if may_loosen else declared)
    wanted = dict(approvals) if may_loosen else _tightened(known, approvals)
    if declared and not may_loosen:
        wanted[declared[-1].name] = wanted.pop(declared[-1].name)
    tx.connection.execute(delete(environments).where(environments.c.model == model))
    if wanted:
        tx.connection.execute(
            insert(environments),
            [
                {"model": model, "name": name, "position": position, "approvals": needed}
                for position, (name, needed) in enumerate(wanted.items())
            ],
        )
    before, after = _asked(known), _asked(environments_of(tx.connection, model))
    changes = tuple(
        Change(alias, before.get(alias), after.get(alias))
        for alias in dict.fromkeys((*before, *after))
        if before.get(alias) != after.get(alias)
    )
    if changes:
        append_event(tx, "environments.declared", model, {"changed": ", ".join(map(str, changes))})
    return changes


def environments_of(connection: Connection, model: str) -> tuple[KnownEnvironment, ...]:
    """As declared; a model with releases that none were declared for has one, `production`."""
    declared = list_environments(connection, model)
    return declared or ((KnownEnvironment("production", 0),) if has_releases(connection, model) else ())


def list_environments(connection: Connection, model: str) -> tuple[KnownEnvironment, ...]:
    """In the order of promotion; empty where nothing was declared."""
    t = environments.c
    query = select(t.name, t.approvals).where(t.model == model).order_by(t.position)
    return tuple(KnownEnvironment(*row) for row in connection.execute(query))


def _require_valid(approvals: Mapping[str, int], *, beside: Sequence[KnownEnvironment]) -> None:
    names = dict.fromkeys((*(item.name for item in beside), *approvals))
    for name, problem in environment_problems(names):
        if name in approvals:
            raise InvalidInput(problem)
    for name, needed in approvals.items():
        if not 0 <= needed <= MAX_APPROVALS:
            raise InvalidInput(f"{name} asks for 0 to {MAX_APPROVALS} approvals, not {needed}.")


def _tightened(known: Sequence[KnownEnvironment], wanted: Mapping[str, int]) -> dict[str, int]:
    asked = {item.name.lower(): item.approvals for item in known}
    named = {name.lower() for name in wanted}
    kept = {item.name: item.approvals for item in known if item.name.lower() not in named}
    return {**kept, **{name: max(needed, asked.get(name.lower(), 0)) for name, needed in wanted.items()}}


def _asked(known: Sequence[KnownEnvironment]) -> dict[str, int]:
    """By alias; the champion's is that of the last environment."""
    asked = {item.name: item.approvals for item in known}
    return {**asked, CHAMPION: known[-1].approvals} if known else asked


def _number(approvals: int | None) -> str:
    return "none" if approvals is None else str(approvals)
