"""MLflow's operations on users, those of them that map onto Lockgate's roles."""

from lockgate.wire.operation import Empty, Message, mlflow


class User(Message, frozen=True, kw_only=True):
    """`is_admin` is always written: clients index it."""

    id: int
    username: str
    is_admin: bool


class UserName(Message, frozen=True, kw_only=True):
    username: str


class CreateUser(Message, frozen=True, kw_only=True):
    username: str
    password: str


class UpdatePassword(Message, frozen=True, kw_only=True):
    username: str
    password: str
    current_password: str = ""


class UpdateAdmin(Message, frozen=True, kw_only=True):
    username: str
    is_admin: bool


class UserMessage(Message, frozen=True, kw_only=True):
    user: User


class CurrentUser(Message, frozen=True, kw_only=True):
    user: User
    is_basic_auth: bool


class UserList(Message, frozen=True, kw_only=True):
    users: tuple[User, ...]


CREATE_USER = mlflow("users/create", "POST", CreateUser, UserMessage)
GET_USER = mlflow("users/get", "GET", UserName, UserMessage)
CURRENT_USER = mlflow("users/current", "GET", Empty, CurrentUser)
LIST_USERS = mlflow("users/list", "GET", Empty, UserList)
UPDATE_PASSWORD = mlflow("users/update-password", "PATCH", UpdatePassword, Empty)
UPDATE_ADMIN = mlflow("users/update-admin", "PATCH", UpdateAdmin, Empty)
DELETE_USER = mlflow("users/delete", "DELETE", UserName, Empty)
