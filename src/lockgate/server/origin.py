"""Where a request comes from: which addresses may be listened on, and which web pages may make a browser ask."""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from lockgate.errors import InvalidInput, PermissionDenied

USER_HEADER = b"x-lockgate-user"
_TELLING = frozenset({b"host", b"origin", b"authorization", USER_HEADER})
_MAX_USER = 256


def telling_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """Those headers that say where a request comes from and who sends it; of one that is repeated the first."""
    return {name: value.decode("latin-1") for name, value in reversed(headers) if name in _TELLING}


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


def require_ours(headers: Mapping[bytes, str], *, has_login: bool) -> None:
    """Raises PermissionDenied for a request that a page of another site has made the browser send.

    Without a login also for one that names a host other than this machine (DNS rebinding).
    """
    origin, host = headers.get(b"origin"), headers.get(b"host", "")
    if origin and _netloc(origin) != host:
        raise PermissionDenied("this request comes from a page of another site.")
    if not has_login and not _names_this_machine(host):
        raise PermissionDenied(f"this server does not answer as {_host_name(host)!r}, only as localhost or 127.0.0.1.")


def claimed_user(headers: Mapping[bytes, str]) -> str:
    """The name that the client gives for its user, which proves nothing; empty where it gives none."""
    claimed = headers.get(USER_HEADER)
    if not claimed:
        return ""
    user = unquote(claimed).strip()
    return user[:_MAX_USER] if user.isprintable() else ""


@lru_cache(maxsize=64)  # of every request the same few are asked
def _names_this_machine(netloc: str) -> bool:
    name = _host_name(netloc)
    return not name or is_loopback(name)


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # of half an IPv6 address
        return ""


def _host_name(netloc: str) -> str:
    if netloc.startswith("["):
        return netloc.partition("]")[0] + "]"
    return netloc.partition(":")[0]
