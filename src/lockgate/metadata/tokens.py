"""Bearer tokens: of a secret only the digest is kept, so that nobody can read it here."""

from sqlalchemy import Connection, delete, insert, select

from lockgate.entities import Token
from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.access import record_change
from lockgate.metadata.database import Tx
from lockgate.metadata.limits import require_time
from lockgate.metadata.tables import tokens, users
from lockgate.metadata.users import get_user


def create_token(tx: Tx, token_id: str, user: str, *, digest: str, note: str, expires_at: int | None) -> Token:
    """Raises NotFound for the user, InvalidInput for a time that has passed or is none."""
    require_time(expires_at, "expires_at")
    if expires_at is not None and expires_at <= tx.at:
        raise InvalidInput("the token would have expired before it was made.")
    tx.connection.execute(
        insert(tokens),
        {
            "token_id": token_id,
            "user_id": get_user(tx.connection, user).number,
            "digest": digest,
            "note": note,
            "created_at": tx.at,
            "created_by": tx.by,
            "expires_at": expires_at,
        },
    )
    record_change(tx)
    return get_token(tx.connection, token_id)


def get_token(connection: Connection, token_id: str) -> Token:
    """Raises NotFound."""
    found = _tokens(connection, token_id=token_id)
    if not found:
        raise NotFound(f"there is no token {token_id!r}.", hint="lockgate tokens lists them all")
    return found[0]


def list_tokens(connection: Connection, user: str | None) -> tuple[Token, ...]:
    """Oldest first; of one user or of all."""
    return _tokens(connection, user=user)


def revoke_token(tx: Tx, token_id: str) -> None:
    """Raises NotFound."""
    get_token(tx.connection, token_id)
    tx.connection.execute(delete(tokens).where(tokens.c.token_id == token_id))
    record_change(tx)


def _tokens(connection: Connection, *, token_id: str | None = None, user: str | None = None) -> tuple[Token, ...]:
    query = select(tokens, users.c.name).join(users).order_by(tokens.c.created_at, tokens.c.token_id)
    if token_id is not None:
        query = query.where(tokens.c.token_id == token_id)
    if user is not None:
        query = query.where(users.c.name == user)
    return tuple(
        Token(
            token_id=row.token_id,
            user=row.name,
            note=row.note,
            created_at=row.created_at,
            created_by=row.created_by,
            expires_at=row.expires_at,
        )
        for row in connection.execute(query)
    )
