"""One call between a client and a server, as a value that both sides share.

The HTTP transport sends the request struct as JSON to `path`; the in-process transport hands the same struct to the
handler. A field that `path` names in braces travels in the path, with its slashes where it is written `{name:path}`;
for GET every other field is a query parameter.
"""

import re
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar, get_origin

import msgspec

Req = TypeVar("Req", bound=msgspec.Struct)
Res = TypeVar("Res", bound=msgspec.Struct)

Method = Literal["GET", "POST", "PATCH", "DELETE"]

OWN_PREFIX = "/api/lockgate/1"
MLFLOW_PREFIX = "/api/2.0/mlflow"
MLFLOW_UI_PREFIX = "/ajax-api/2.0/mlflow"
# Of names of metrics, params and tags, and of the values of a run's, in characters: longer values are cut.
KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 6000, 8000
LONGEST_LIST = 10_000  # of what is in one answer; whoever wants more goes on from there

_IN_PATH = re.compile(r"{(\w+)(?::path)?}")


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every request and response. Unknown fields are ignored, so that newer clients keep working."""


class Empty(Message, frozen=True, kw_only=True):
    """A request or an answer that carries nothing."""


@dataclass(frozen=True)
class Operation(Generic[Req, Res]):
    """`name` is unique among all operations; `path` is the whole path."""

    name: str
    method: Method
    path: str
    request: type[Req]
    response: type[Res]
    path_fields: tuple[str, ...] = field(init=False)
    list_fields: frozenset[str] = field(init=False)  # what may be repeated in a query string

    def __post_init__(self) -> None:
        object.__setattr__(self, "path_fields", tuple(_IN_PATH.findall(self.path)))
        many = frozenset(f.encode_name for f in msgspec.structs.fields(self.request) if get_origin(f.type) is tuple)
        object.__setattr__(self, "list_fields", many)


def own(
    group: str, name: str, request: type[Req], response: type[Res], *, method: Method = "POST"
) -> Operation[Req, Res]:
    """One of Lockgate's own operations: `/api/lockgate/1/<group>/<name-with-hyphens>`."""
    return Operation(f"{group}.{name}", method, f"{OWN_PREFIX}/{group}/{name.replace('_', '-')}", request, response)


def mlflow(path: str, method: Method, request: type[Req], response: type[Res]) -> Operation[Req, Res]:
    """One operation of MLflow's protocol, named by its path below `/api/2.0/mlflow`."""
    return Operation(f"mlflow:{method}:{path}", method, f"{MLFLOW_PREFIX}/{path}", request, response)
