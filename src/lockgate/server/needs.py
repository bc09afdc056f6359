"""What an operation asks of its caller, stated beside it in the table of routes and checked before its handler.

    Route(wire.GET_RUN, get_run, viewer(of_run))            the role viewer on the run's experiment
    Route(wire.CREATE_USER, create_user, admin())           the role admin on the installation
    Route(wire.SEARCH_MODELS, search_models, LISTING)       everybody, who then finds what they are a viewer of

A role on the installation is checked without asking the database; only who lacks it pays for finding out which model
or experiment a request is about.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from lockgate.entities import Role
from lockgate.errors import PermissionDenied
from lockgate.metadata.access import INSTALLATION
from lockgate.metadata.database import Database
from lockgate.metadata.modes import WouldWait
from lockgate.metadata.subjects import Found
from lockgate.server.caller import Caller
from lockgate.server.recent import Recent, Steady

# The request is the struct of the route's own operation, or the path parameters of a page.
Names = Callable[[Connection, Any], tuple[str, ...]]
RoleOf = Callable[[Connection, Any], Role]
Owner = Callable[[Connection, Any], str | None]


@dataclass(frozen=True)
class OneOf:
    """Names of which the role on one is enough."""

    names: Names

    def __call__(self, connection: Connection, request: Any) -> tuple[str, ...]:
        return self.names(connection, request)


@dataclass(frozen=True)
class Need:
    """A role on everything that `names` finds a request to be about; on the installation where it finds nothing."""

    role: Role | None  # None: every user may
    names: Names | None = None
    reads: Names | None = None  # of what it finds besides, the role viewer is enough
    role_of: RoleOf | None = None  # where the role depends on the request; `role` is then the least it can be
    owner: Owner | None = None  # the user whom the request concerns may do it as well


def viewer(names: Names | None = None) -> Need:
    return Need("viewer", names)


def contributor(names: Names | None = None, *, reads: Names | None = None, role_of: RoleOf | None = None) -> Need:
    return Need("contributor", names, reads, role_of)


def approver(names: Names | None = None) -> Need:
    return Need("approver", names)


def admin(names: Names | None = None, *, owner: Owner | None = None) -> Need:
    return Need("admin", names, owner=owner)


ANYBODY = Need(None)
# Nobody is refused: the handler asks the database for no more than `caller.seen`. What was cut down only afterwards
# would still tell, by its page token and by what a filter matches, of the rest.
LISTING = Need(None)


def require(
    need: Need, caller: Caller, database: Database, recent: Recent, request: Any, *, may_wait: bool = True
) -> None:
    """Raises PermissionDenied naming the role that is missing, and NotFound for what a request is about and is not.

    Without `may_wait` it raises WouldWait where another process would have to be asked.
    """
    rights = caller.rights
    if rights is None or need.role is None:
        return
    if need.role_of is None and rights.has(need.role):
        return
    known = recent.find(need.names, request) if isinstance(need.names, Steady) and need.role_of is None else None
    if known and all(rights.has(need.role, name) for name in known):
        return
    if not (may_wait or database.reads_at_once):
        raise WouldWait("the database is to be asked what the request is about.")
    with database.read() as connection:
        role = need.role if need.role_of is None else need.role_of(connection, request)
        names = need.names(connection, request) if need.names else ()
        read = need.reads(connection, request) if need.reads else ()
        is_owner = need.owner is not None and need.owner(connection, request) == caller.name
    if isinstance(need.names, Steady):
        recent.keep(need.names, request, names)
    if isinstance(need.names, OneOf):
        names = tuple(name for name in names if rights.has(role, name)) or names
    asked = [(role, name) for name in names or (INSTALLATION,)] + [("viewer", name) for name in read]
    missing = [one for one in asked if not rights.has(*one)]
    if missing and not is_owner:
        raise _refusal(caller, *missing[0])


def subject_of(need: Need, connection: Connection, request: Any) -> str:
    """The model or experiment that a request is about, for the audit; empty for the installation."""
    names = need.names(connection, request) if need.names else ()
    return str(names[0]) if names and names[0] != INSTALLATION else ""


def _refusal(caller: Caller, role: Role, name: str) -> PermissionDenied:
    assert caller.rights is not None
    has = caller.rights.role_on(name) or "none"
    where, option = ("this installation", "") if name == INSTALLATION else (repr(name), f" --model {name}")
    if isinstance(name, Found) and not caller.sees(name):
        where, option = "what was asked for", " --model NAME"
    return PermissionDenied(
        f"{caller.name!r} needs the role {role} on {where} and has {has}.",
        hint=f"an admin gives it: lockgate users grant {caller.name} {role}{option}",
    )
