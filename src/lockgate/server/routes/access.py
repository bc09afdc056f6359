"""Users, roles, tokens and the audit."""

from sqlalchemy import Connection

from lockgate.entities import Grant
from lockgate.errors import Conflict, InvalidInput, PermissionDenied
from lockgate.metadata import audit, tokens, users
from lockgate.metadata.limits import require_limit
from lockgate.server.act import tell_also
from lockgate.server.bearer import id_of, new_token
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import ANYBODY, admin
from lockgate.server.passwords import hash_password, verify_password
from lockgate.server.subjects import of_model
from lockgate.wire import access as wire
from lockgate.wire.operation import Empty


def who_am_i(ctx: Context, request: Empty) -> wire.WhoAmI:
    if not ctx.caller.is_authenticated:
        return wire.WhoAmI(name=ctx.user)
    with ctx.read() as connection:
        return wire.WhoAmI(name=ctx.user, user=users.get_user(connection, ctx.user))


def list_users(ctx: Context, request: Empty) -> wire.UserList:
    with ctx.read() as connection:
        return wire.UserList(users=users.list_users(connection))


def get_user(ctx: Context, request: wire.OneUser) -> wire.UserMessage:
    with ctx.read() as connection:
        return wire.UserMessage(user=users.get_user(connection, request.user))


def add_user(ctx: Context, request: wire.AddUser) -> wire.UserMessage:
    password = hash_password(request.password) if request.password else ""
    granted = [Grant(pattern=request.pattern, role=request.role)] if request.role else []
    with ctx.write() as tx:
        return wire.UserMessage(user=users.add_user(tx, request.user, password=password, granted=granted))


def remove_user(ctx: Context, request: wire.OneUser) -> Empty:
    with ctx.write() as tx:
        if ctx.caller.is_authenticated and request.user == ctx.user:
            raise Conflict("nobody can remove the user that they are logged in as.", hint="ask another admin")
        users.remove_user(tx, request.user)
    return Empty()


def set_password(ctx: Context, request: wire.SetPassword) -> Empty:
    if ctx.caller.is_authenticated and request.user == ctx.user:
        _require_current(ctx, request.current)
    password = hash_password(request.password)
    with ctx.write() as tx:
        users.set_password(tx, request.user, password)
    return Empty()


def grant_role(ctx: Context, request: wire.GrantRole) -> wire.UserMessage:
    with ctx.write() as tx:
        given = Grant(pattern=request.pattern, role=request.role)
        return wire.UserMessage(user=users.grant(tx, request.user, given))


def revoke_role(ctx: Context, request: wire.RevokeRole) -> wire.UserMessage:
    with ctx.write() as tx:
        return wire.UserMessage(user=users.revoke(tx, request.user, request.pattern))


def create_token(ctx: Context, request: wire.CreateToken) -> wire.NewToken:
    made = new_token()
    with ctx.write() as tx:
        token = tokens.create_token(
            tx, made.token_id, request.user, digest=made.digest, note=request.note, expires_at=request.expires_at
        )
        tell_also(ctx.act, token_id=made.token_id)
        return wire.NewToken(token=token, text=made.text)


def list_tokens(ctx: Context, request: wire.ListTokens) -> wire.TokenList:
    with ctx.read() as connection:
        if request.user is not None:
            users.get_user(connection, request.user)
        return wire.TokenList(tokens=tokens.list_tokens(connection, request.user))


def revoke_token(ctx: Context, request: wire.OneToken) -> Empty:
    token_id = id_of(request.token_id)
    with ctx.write() as tx:
        tokens.revoke_token(tx, token_id)
    return Empty()


def list_audit(ctx: Context, request: wire.ListAudit) -> wire.AuditList:
    limit = require_limit(request.limit)
    with ctx.read() as connection:
        found = audit.list_audit(
            connection,
            since=request.since,
            before=request.before,
            subject=request.model,
            by=request.user,
            limit=limit,
        )
        return wire.AuditList(entries=found)


def _require_current(ctx: Context, password: str) -> None:
    """A stolen token, or a browser left alone, must not be enough to take an account over."""
    with ctx.read() as connection:
        stored = users.password_of(connection, ctx.user)
    if not stored:
        if ctx.caller.rights is not None and not ctx.caller.rights.has("admin"):
            raise PermissionDenied(
                f"{ctx.user!r} has no password: the first one is an admin's to set.",
                hint=f"an admin sets it: lockgate users password {ctx.user}",
            )
        return
    ctx.guesses.take(ctx.user)
    if ctx.act is not None:
        ctx.act.is_decision = True  # a wrong guess is told, though it comes to no transaction
    if not (password and verify_password(password, stored)):
        raise InvalidInput("the current password is needed to change your own, and this is not it.")
    ctx.guesses.give_back(ctx.user)


def _user(connection: Connection, request: wire.OneUser | wire.SetPassword | wire.CreateToken) -> str:
    return request.user


def _user_of_list(connection: Connection, request: wire.ListTokens) -> str | None:
    return request.user


def _user_of_token(connection: Connection, request: wire.OneToken) -> str:
    return tokens.get_token(connection, id_of(request.token_id)).user


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.WHO_AM_I, who_am_i, ANYBODY),
    Route(wire.LIST_USERS, list_users, admin()),
    Route(wire.GET_USER, get_user, admin(owner=_user)),
    Route(wire.ADD_USER, add_user, admin()),
    Route(wire.REMOVE_USER, remove_user, admin()),
    Route(wire.SET_PASSWORD, set_password, admin(owner=_user)),
    Route(wire.GRANT_ROLE, grant_role, admin()),
    Route(wire.REVOKE_ROLE, revoke_role, admin()),
    Route(wire.CREATE_TOKEN, create_token, admin(owner=_user)),
    Route(wire.LIST_TOKENS, list_tokens, admin(owner=_user_of_list)),
    Route(wire.REVOKE_TOKEN, revoke_token, admin(owner=_user_of_token)),
    Route(wire.LIST_AUDIT, list_audit, admin(of_model)),
)
