"""Who asks: only programs of this machine are served, and the name they give is what is recorded."""

import ipaddress
from urllib.parse import unquote, urlsplit

from starlette.types import Scope

from lockgate.errors import InvalidInput, PermissionDenied

USER_HEADER = b"x-lockgate-user"
_MAX_USER = 256


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_loopback(host: str) -> None:
    """Raises InvalidInput for an address that others could reach: there is no login yet."""
    if not is_loopback(host):
        raise InvalidInput(
            f"refusing to listen on {host}: without a login only this machine may connect.",
            hint="use --host 127.0.0.1, and an SSH tunnel or an authenticating proxy to reach it from elsewhere",
        )


def require_local(scope: Scope) -> None:
    """Raises PermissionDenied for a request that a foreign web page has made the browser send."""
    host = origin = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif name == b"origin":
            origin = value
    name = _host_name(host.decode("latin-1"))
    if name and not is_loopback(name):
        raise PermissionDenied(f"this server does not answer as {name!r}, only as localhost or 127.0.0.1.")
    if origin and urlsplit(origin.decode("latin-1")).netloc.encode("latin-1") != host:
        raise PermissionDenied("this request comes from a page of another site.")


def caller(scope: Scope) -> str:
    """The name that the client gives for its user; empty where it gives none."""
    for name, value in scope["headers"]:
        if name == USER_HEADER:
            user = unquote(value.decode("latin-1")).strip()
            return user[:_MAX_USER] if user.isprintable() else ""
    return ""


def _host_name(netloc: str) -> str:
    if netloc.startswith("["):
        return netloc.partition("]")[0] + "]"
    return netloc.partition(":")[0]
