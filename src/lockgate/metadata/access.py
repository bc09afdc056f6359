"""What a server must know to let somebody in: users, grants and tokens as one value, read again only when they changed.

Every change of the three tables counts up one number in the transaction that makes it, so whether there is anything
new to read is one primary-key look-up.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from lockgate.entities import Grant
from lockgate.errors import Conflict, Unavailable
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.driver import plain_rows
from lockgate.metadata.schema import HEAD, VERSION
from lockgate.metadata.tables import access_revision, grants, tokens, users

INSTALLATION = "*"  # the pattern of a grant that is not about some models, and what it is a grant on

_ONLY = 1


class KnownUser(NamedTuple):
    """A user with the hash of the password; empty where only tokens are taken."""

    name: str
    password: str
    grants: tuple[Grant, ...]


class KnownToken(NamedTuple):
    """What is kept of a token: whose it is and the digest of its secret."""

    user: str
    digest: str
    expires_at: int | None


class Directory(NamedTuple):
    """Everybody who may come in, at one revision."""

    revision: int
    users: Mapping[str, KnownUser]
    tokens: Mapping[str, KnownToken]


def read_revision(connection: Connection) -> int:
    """How often users, grants or tokens have been changed.

    Raises Unavailable where the database was migrated: whoever is still running knows nothing of its tables.
    """
    # One question for both, because every server asks it every second.
    query = select(VERSION.c.version_num, access_revision.c.revision).outerjoin(
        access_revision, access_revision.c.only == _ONLY
    )
    schema, revision = connection.execute(query).first() or ("", 0)
    if schema != HEAD:
        raise Unavailable(
            "the database was migrated; restart this server.",
            hint=f"with a Lockgate that knows its revision {schema}; this one is for {HEAD}",
        )
    return revision or 0


def read_directory(connection: Connection) -> Directory:
    """Users by name and tokens by id."""
    # first: what is changed while we read must be read again the next time
    revision = read_revision(connection)
    # Plain rows: requests wait while Python builds this.
    g, u, t = grants.c, users.c, tokens.c
    granted: dict[int, list[Grant]] = {}
    for number, pattern, role in plain_rows(connection, select(g.user_id, g.pattern, g.role).order_by(g.pattern)):
        granted.setdefault(number, []).append(Grant(pattern=pattern, role=role))
    names: dict[int, str] = {}
    found: dict[str, KnownUser] = {}
    for number, name, password in plain_rows(connection, select(u.user_id, u.name, u.password)):
        names[number] = name
        found[name] = KnownUser(name, password, tuple(granted.get(number, ())))
    known = {
        token_id: KnownToken(names[number], digest, expires_at)
        for token_id, number, digest, expires_at in plain_rows(
            connection, select(t.token_id, t.user_id, t.digest, t.expires_at)
        )
    }
    return Directory(revision, found, known)


def record_change(tx: Tx) -> None:
    """To be called by every change of users, grants and tokens, when it is made.

    Raises Conflict where it would leave users and no admin: nobody could let anybody in any more.
    """
    if _count_users(tx.connection) and not has_admin(tx.connection):
        raise Conflict(
            "this would leave users and no admin.",
            hint="lockgate users add NAME --role admin, or lockgate users grant NAME admin",
        )
    tx.connection.execute(
        upsert(tx.is_sqlite, access_revision)
        .values(only=_ONLY, revision=1)
        .on_conflict_do_update(index_elements=["only"], set_={"revision": access_revision.c.revision + 1})
    )


def has_admin(connection: Connection) -> bool:
    """Whether anybody is an admin of the installation."""
    query = select(grants.c.user_id).where(grants.c.pattern == INSTALLATION, grants.c.role == "admin").limit(1)
    return connection.scalar(query) is not None


def _count_users(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(users)) or 0
