"""Users, and the roles they are granted on models and experiments."""

from collections.abc import Sequence

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from lockgate.entities import Grant, Role, User
from lockgate.errors import AlreadyExists, InvalidInput, NotFound
from lockgate.metadata.access import record_change
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.tables import grants, users

_MAX_NAME = 256
MOST_GRANTS = 10_000  # of one user: all are gone through at every request


def add_user(tx: Tx, name: str, *, password: str, granted: Sequence[Grant]) -> User:
    """`password` is a hash, empty for a user that only has tokens.

    Raises AlreadyExists, InvalidInput for a name that basic authentication cannot carry, and Conflict where the first
    user is no admin.
    """
    _require_valid(name)
    if _find(tx.connection, name) is not None:
        raise AlreadyExists(f"there is a user {name!r} already.")
    values = {"name": name, "password": password, "created_at": tx.at, "created_by": tx.by}
    tx.connection.execute(insert(users), values)
    number = _row(tx.connection, name).user_id
    for grant in granted:
        _grant(tx, number, grant)
    _require_few_grants(tx, number, name)
    record_change(tx)
    return get_user(tx.connection, name)


def get_user(connection: Connection, name: str) -> User:
    """Raises NotFound."""
    return _users(connection, [_row(connection, name)])[0]


def list_users(connection: Connection) -> tuple[User, ...]:
    """By name."""
    return _users(connection, connection.execute(select(users).order_by(users.c.name)).all())


def password_of(connection: Connection, name: str) -> str:
    """The hash. Raises NotFound."""
    return str(_row(connection, name).password)


def remove_user(tx: Tx, name: str) -> None:
    """With tokens and grants. Raises NotFound, and Conflict for the last admin while there are others."""
    tx.connection.execute(delete(users).where(users.c.user_id == _row(tx.connection, name).user_id))
    record_change(tx)


def set_password(tx: Tx, name: str, password: str) -> None:
    """`password` is a hash. Raises NotFound."""
    number = _row(tx.connection, name).user_id
    tx.connection.execute(update(users).where(users.c.user_id == number).values(password=password))
    record_change(tx)


def grant(tx: Tx, name: str, given: Grant) -> User:
    """The user with the role, which replaces the one on the same pattern. Raises NotFound, InvalidInput, Conflict."""
    number = _row(tx.connection, name).user_id
    _grant(tx, number, given)
    _require_few_grants(tx, number, name)
    record_change(tx)
    return get_user(tx.connection, name)


def revoke(tx: Tx, name: str, pattern: str) -> User:
    """The user without the role on `pattern`. Raises NotFound, and Conflict for the last admin."""
    number = _row(tx.connection, name).user_id
    t = grants.c
    if not tx.connection.execute(delete(grants).where(t.user_id == number, t.pattern == pattern)).rowcount:
        known = ", ".join(given.pattern for given in get_user(tx.connection, name).grants) or "nothing"
        raise NotFound(f"{name!r} has no role on {pattern!r}; there are roles on: {known}.")
    record_change(tx)
    return get_user(tx.connection, name)


def _grant(tx: Tx, number: int, given: Grant) -> None:
    if not given.pattern or len(given.pattern) > _MAX_NAME or "*" in given.pattern[:-1] or "\0" in given.pattern:
        raise InvalidInput(
            f"{given.pattern!r} is no pattern of names: write one name, the beginning of names and `*`, or `*`."
        )
    role: Role = given.role
    tx.connection.execute(
        upsert(tx.is_sqlite, grants)
        .values(user_id=number, pattern=given.pattern, role=role)
        .on_conflict_do_update(index_elements=["user_id", "pattern"], set_={"role": role})
    )


def _require_few_grants(tx: Tx, number: int, name: str) -> None:
    count = tx.connection.scalar(select(func.count()).select_from(grants).where(grants.c.user_id == number)) or 0
    if count > MOST_GRANTS:
        raise InvalidInput(
            f"{name!r} would have roles on {count:,} patterns; a user has at most {MOST_GRANTS:,}.",
            hint="grant a role on all names that begin alike, as team/*",
        )


def _find(connection: Connection, name: str) -> Row[tuple[object, ...]] | None:
    return connection.execute(select(users).where(users.c.name == name)).first()


def _row(connection: Connection, name: str) -> Row[tuple[object, ...]]:
    row = _find(connection, name)
    if row is None:
        raise NotFound(f"there is no user {name!r}.", hint="lockgate users lists them all")
    return row


def _users(connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> tuple[User, ...]:
    numbers = [row.user_id for row in rows]
    query = select(grants).where(grants.c.user_id.in_(numbers)).order_by(grants.c.pattern)
    granted: dict[int, list[Grant]] = {}
    for row in connection.execute(query):
        granted.setdefault(row.user_id, []).append(Grant(pattern=row.pattern, role=row.role))
    return tuple(
        User(
            name=row.name,
            number=row.user_id,
            has_password=bool(row.password),
            grants=tuple(granted.get(row.user_id, ())),
            created_at=row.created_at,
            created_by=row.created_by,
        )
        for row in rows
    )


def _require_valid(name: str) -> None:
    if not name or name != name.strip() or ":" in name or not name.isprintable() or len(name) > _MAX_NAME:
        raise InvalidInput(
            f"{name!r} cannot be the name of a user: 1 to {_MAX_NAME} printable characters, no colon, no space around."
        )
