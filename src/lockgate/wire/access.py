"""Users, grants, tokens and the audit: Lockgate's own operations on who may do what, and who did."""

from lockgate.entities import AuditEntry, Role, Token, User
from lockgate.wire.operation import Empty, Message, own


class AddUser(Message, frozen=True, kw_only=True):
    """`password` empty makes a user that only has tokens; `role` is granted on `pattern`, None grants nothing."""

    user: str
    password: str = ""
    role: Role | None = None
    pattern: str = "*"


class OneUser(Message, frozen=True, kw_only=True):
    user: str


class UserMessage(Message, frozen=True, kw_only=True):
    user: User


class UserList(Message, frozen=True, kw_only=True):
    users: tuple[User, ...] = ()


class SetPassword(Message, frozen=True, kw_only=True):
    """`current` is the old password: users who change their own must know it, admins who change another's need not."""

    user: str
    password: str
    current: str = ""


class GrantRole(Message, frozen=True, kw_only=True):
    user: str
    role: Role
    pattern: str = "*"


class RevokeRole(Message, frozen=True, kw_only=True):
    user: str
    pattern: str = "*"


class CreateToken(Message, frozen=True, kw_only=True):
    """`expires_at` None makes a token that never does."""

    user: str
    note: str = ""
    expires_at: int | None = None


class NewToken(Message, frozen=True, kw_only=True):
    """`text` is shown once: nobody can read it again."""

    token: Token
    text: str


class ListTokens(Message, frozen=True, kw_only=True):
    """`user` None lists everybody's."""

    user: str | None = None


class OneToken(Message, frozen=True, kw_only=True):
    token_id: str


class TokenList(Message, frozen=True, kw_only=True):
    tokens: tuple[Token, ...] = ()


class WhoAmI(Message, frozen=True, kw_only=True):
    """`user` is None where nobody logs in, and for a process that is trusted without."""

    name: str
    user: User | None = None


class ListAudit(Message, frozen=True, kw_only=True):
    """Newest first: those with a sequence below `before`. `model` is a model or an experiment."""

    since: int = 0
    before: int | None = None
    model: str | None = None
    user: str | None = None
    limit: int = 100


class AuditList(Message, frozen=True, kw_only=True):
    entries: tuple[AuditEntry, ...] = ()


WHO_AM_I = own("access", "who_am_i", Empty, WhoAmI, method="GET")
LIST_USERS = own("access", "list_users", Empty, UserList, method="GET")
GET_USER = own("access", "get_user", OneUser, UserMessage, method="GET")
ADD_USER = own("access", "add_user", AddUser, UserMessage)
REMOVE_USER = own("access", "remove_user", OneUser, Empty)
SET_PASSWORD = own("access", "set_password", SetPassword, Empty)
GRANT_ROLE = own("access", "grant_role", GrantRole, UserMessage)
REVOKE_ROLE = own("access", "revoke_role", RevokeRole, UserMessage)
CREATE_TOKEN = own("access", "create_token", CreateToken, NewToken)
LIST_TOKENS = own("access", "list_tokens", ListTokens, TokenList, method="GET")
REVOKE_TOKEN = own("access", "revoke_token", OneToken, Empty)
LIST_AUDIT = own("access", "list_audit", ListAudit, AuditList, method="GET")
