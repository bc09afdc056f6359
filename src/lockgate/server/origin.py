"""Where a request comes from: which addresses may be listened on, and which web pages may make a browser ask."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import msgspec

from lockgate.errors import InvalidInput, PermissionDenied

USER_HEADER = b"x-lockgate-user"
_TELLING = frozenset({b"host", b"origin", b"authorization", USER_HEADER})
_MAX_USER = 256
_MAX_CLAIM = 12 * _MAX_USER  # a character takes up to four bytes, of which each is written as %ff


class Sender(msgspec.Struct, frozen=True):
    """Where a request comes from and who sends it, as far as its connection and headers say it. Empty: they do not."""

    address: str
    host: str  # the server's name, as the client knows it
    page: str  # that made the browser send it
    scheme: str  # of the credentials, in small letters
    credentials: str
    claim: str  # what the client says its user is called, as it was sent

    @property
    def claimed_user(self) -> str:
        """The name that the client gives for its user, which proves nothing; empty where it gives none."""
        if not self.claim:
            return ""
        user = unquote(self.claim[:_MAX_CLAIM]).strip()
        return user[:_MAX_USER] if user.isprintable() else ""


def read_sender(headers: Sequence[tuple[bytes, bytes]], client: tuple[str, int] | None) -> Sender:
    """Of a header that is repeated the first one counts."""
    found = {name: value.decode("latin-1") for name, value in reversed(headers) if name in _TELLING}
    scheme, _, credentials = found.get(b"authorization", "").partition(" ")
    return Sender(
        address=client[0] if client else "",
        host=found.get(b"host", ""),
        page=found.get(b"origin", ""),
        scheme=scheme.lower(),
        credentials=credentials.strip(),
        claim=found.get(USER_HEADER, ""),
    )


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


def require_ours(sender: Sender, *, has_login: bool) -> None:
    """Raises PermissionDenied for a request that a page of another site has made the browser send.

    Without a login also for one that names a host other than this machine (DNS rebinding).
    """
    if sender.page and _netloc(sender.page) != sender.host:
        raise PermissionDenied("this request comes from a page of another site.")
    if not has_login and not _names_this_machine(sender.host):
        name = _host_name(sender.host)
        raise PermissionDenied(f"this server does not answer as {name!r}, only as localhost or 127.0.0.1.")


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
