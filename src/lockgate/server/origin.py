"""Where a request comes from: which addresses may be listened on, and which web pages may make a browser ask."""

import ipaddress
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from starlette.types import Scope

from lockgate.errors import InvalidInput, PermissionDenied

USER_HEADER = b"x-lockgate-user"
_MAX_USER = 256


@lru_cache(maxsize=64)  # of every request the same few are asked
def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_loopback(host: str) -> None:
    """Raises InvalidInput for an address that others could reach: where nobody logs in it must be this machine's."""
    if not is_loopback(host):
        raise InvalidInput(
            f"refusing to listen on {host}: without a login only this machine may connect.",
            hint="lockgate users add NAME --role admin, and from then on everybody logs in; or use --host 127.0.0.1",
        )


def require_local(scope: Scope) -> None:
    """Raises PermissionDenied for a request that names a host other than this machine (DNS rebinding)."""
    name = _host_name(header(scope, b"host"))
    if name and not is_loopback(name):
        raise PermissionDenied(f"this server does not answer as {name!r}, only as localhost or 127.0.0.1.")


def require_same_site(scope: Scope) -> None:
    """Raises PermissionDenied for a request that a page of another site has made the browser send."""
    origin = header(scope, b"origin")
    if origin and urlsplit(origin).netloc != header(scope, b"host"):
        raise PermissionDenied("this request comes from a page of another site.")


def claimed_user(scope: Scope) -> str:
    """The name that the client gives for its user, which proves nothing; empty where it gives none."""
    user = unquote(header(scope, USER_HEADER)).strip()
    return user[:_MAX_USER] if user.isprintable() else ""


def header(scope: Scope, name: bytes) -> str:
    """The value of a header, empty where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found.decode("latin-1")
    return ""


def _host_name(netloc: str) -> str:
    if netloc.startswith("["):
        return netloc.partition("]")[0] + "]"
    return netloc.partition(":")[0]
