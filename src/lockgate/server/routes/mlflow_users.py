"""MLflow's operations on users, carried out by Lockgate's own: an admin is who has that role on the installation."""

from sqlalchemy import Connection

from lockgate import entities
from lockgate.entities import Grant
from lockgate.errors import NotFound
from lockgate.metadata import users
from lockgate.metadata.access import INSTALLATION
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import ANYBODY, admin
from lockgate.server.passwords import hash_password
from lockgate.server.routes import access
from lockgate.wire import access as own
from lockgate.wire.mlflow import users as wire
from lockgate.wire.operation import Empty


def create_user(ctx: Context, request: wire.CreateUser) -> wire.UserMessage:
    """A viewer: MLflow's own users may read everything unless they are told otherwise."""
    password = hash_password(request.password)  # an empty one is refused, and does not make a user that has only tokens
    granted = [Grant(pattern=INSTALLATION, role="viewer")]
    with ctx.write() as tx:
        made = users.add_user(tx, request.username, password=password, granted=granted)
        return wire.UserMessage(user=_user(made))


def get_user(ctx: Context, request: wire.UserName) -> wire.UserMessage:
    with ctx.read() as connection:
        return wire.UserMessage(user=_user(users.get_user(connection, request.username)))


def current_user(ctx: Context, request: Empty) -> wire.CurrentUser:
    if not ctx.caller.is_authenticated:
        raise NotFound("nobody logs in here: this installation has no users.")
    with ctx.read() as connection:
        return wire.CurrentUser(user=_user(users.get_user(connection, ctx.user)), is_basic_auth=True)


def list_users(ctx: Context, request: Empty) -> wire.UserList:
    with ctx.read() as connection:
        return wire.UserList(users=tuple(_user(found) for found in users.list_users(connection)))


def update_password(ctx: Context, request: wire.UpdatePassword) -> Empty:
    own_request = own.SetPassword(user=request.username, password=request.password, current=request.current_password)
    return access.set_password(ctx, own_request)


def update_admin(ctx: Context, request: wire.UpdateAdmin) -> Empty:
    """Who is an admin no more stays a viewer, as everybody is to MLflow; who was none keeps what they have."""
    role: entities.Role = "admin" if request.is_admin else "viewer"
    with ctx.write() as tx:
        if _is_admin(users.get_user(tx.connection, request.username)) != request.is_admin:
            users.grant(tx, request.username, Grant(pattern=INSTALLATION, role=role))
    return Empty()


def delete_user(ctx: Context, request: wire.UserName) -> Empty:
    return access.remove_user(ctx, own.OneUser(user=request.username))


def _user(user: entities.User) -> wire.User:
    return wire.User(id=user.number, username=user.name, is_admin=_is_admin(user))


def _is_admin(user: entities.User) -> bool:
    return Grant(pattern=INSTALLATION, role="admin") in user.grants


def _name(connection: Connection, request: wire.UserName | wire.UpdatePassword) -> str:
    return request.username


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.CREATE_USER, create_user, admin()),
    Route(wire.GET_USER, get_user, admin(owner=_name)),
    Route(wire.CURRENT_USER, current_user, ANYBODY),
    Route(wire.LIST_USERS, list_users, admin()),
    Route(wire.UPDATE_PASSWORD, update_password, admin(owner=_name)),
    Route(wire.UPDATE_ADMIN, update_admin, admin()),
    Route(wire.DELETE_USER, delete_user, admin()),
)
