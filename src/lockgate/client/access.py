"""Users, roles, tokens and the audit of a server."""

from collections.abc import Iterator

from lockgate.client.newest import newest_first
from lockgate.client.transport import Transport
from lockgate.entities import AuditEntry, Role, Token, User
from lockgate.wire import access as wire
from lockgate.wire.operation import Empty

_PAGE = 1000  # of one answer


class Access:
    """Who may do what, and who did."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def who_am_i(self) -> wire.WhoAmI:
        """The name that is recorded with what this client does."""
        return self._transport.call(wire.WHO_AM_I, Empty())

    def list_users(self) -> list[User]:
        """By name."""
        return list(self._transport.call(wire.LIST_USERS, Empty()).users)

    def get_user(self, name: str) -> User:
        """Raises NotFound."""
        return self._transport.call(wire.GET_USER, wire.OneUser(user=name)).user

    def add_user(self, name: str, *, password: str = "", role: Role | None = None, pattern: str = "*") -> User:
        """Without a password the user only has tokens. Raises AlreadyExists, InvalidInput, and Conflict for a first
        user who is no admin."""
        request = wire.AddUser(user=name, password=password, role=role, pattern=pattern)
        return self._transport.call(wire.ADD_USER, request).user

    def remove_user(self, name: str) -> None:
        """With tokens and grants. Raises NotFound, and Conflict for the last admin while there are others."""
        self._transport.call(wire.REMOVE_USER, wire.OneUser(user=name))

    def set_password(self, name: str, password: str, *, current: str = "") -> None:
        """Whoever logs in and changes their own must give the current one. Raises NotFound, InvalidInput."""
        self._transport.call(wire.SET_PASSWORD, wire.SetPassword(user=name, password=password, current=current))

    def grant_role(self, name: str, role: Role, *, pattern: str = "*") -> User:
        """In place of the role that the user had on exactly that pattern. Raises NotFound, InvalidInput, Conflict."""
        return self._transport.call(wire.GRANT_ROLE, wire.GrantRole(user=name, role=role, pattern=pattern)).user

    def revoke_role(self, name: str, *, pattern: str = "*") -> User:
        """Raises NotFound where there is none on exactly that pattern, and Conflict for the last admin."""
        return self._transport.call(wire.REVOKE_ROLE, wire.RevokeRole(user=name, pattern=pattern)).user

    def create_token(self, user: str, *, note: str = "", expires_at: int | None = None) -> wire.NewToken:
        """Its text cannot be read again. Raises NotFound for the user."""
        request = wire.CreateToken(user=user, note=note, expires_at=expires_at)
        return self._transport.call(wire.CREATE_TOKEN, request)

    def list_tokens(self, user: str | None = None) -> list[Token]:
        """Oldest first; of one user or of all."""
        return list(self._transport.call(wire.LIST_TOKENS, wire.ListTokens(user=user)).tokens)

    def revoke_token(self, token_id: str) -> None:
        """Servers refuse it within a second. Raises NotFound."""
        self._transport.call(wire.REVOKE_TOKEN, wire.OneToken(token_id=token_id))

    def list_audit(
        self,
        *,
        since: int = 0,
        before: int | None = None,
        model: str | None = None,
        user: str | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """Newest first, from the time `since` on, with a sequence below `before`; about one model or experiment, or by
        one user."""
        request = wire.ListAudit(since=since, before=before, model=model, user=user, limit=limit)
        return list(self._transport.call(wire.LIST_AUDIT, request).entries)

    def iter_audit(self, *, since: int = 0, model: str | None = None, user: str | None = None) -> Iterator[AuditEntry]:
        """All of them, newest first."""

        def ask(before: int | None) -> list[AuditEntry]:
            return self.list_audit(since=since, before=before, model=model, user=user, limit=_PAGE)

        return newest_first(ask, lambda entry: entry.sequence, size=_PAGE)
