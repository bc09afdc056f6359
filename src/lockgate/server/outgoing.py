"""One HTTP request to an address that a user gave, which must not become a way into the network that we stand in.

The rule: https only, and only to public addresses. What a name means is judged before anybody is connected to, and the
connection is made to that very address, so that a name which means something else at the second look (DNS rebinding)
gains nothing. Redirects are not followed, proxies of the environment not used. Where the setting
`webhook_private_addresses` allows it, plain http and addresses of this machine and its networks are allowed as well.
"""

import contextlib
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit

from lockgate.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

_CONNECT_LIMIT_S = 5.0
# A receiver that drips bytes would never let a time-out between two of them end it.
_WHOLE_LIMIT_S = 15.0
_MAX_BODY = 4096
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Answer(NamedTuple):
    """What the receiver said; its body where that was asked for, up to some kilobytes."""

    status: int
    body: str


def require_sendable(url: str, *, private_allowed: bool) -> SplitResult:
    """The parts of the URL. Raises InvalidInput for one that nothing would ever be sent to.

    The error names no more than scheme and host: the rest is often a secret, and errors are logged and shown in lists.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidInput(f"a webhook cannot send to what is not a URL: {error}.") from error
    schemes = ("https", "http") if private_allowed else ("https",)
    if parts.scheme not in schemes:
        given = f"with {parts.scheme}://{host}" if parts.scheme else "without a scheme"
        raise InvalidInput(
            f"a webhook's URL begins with {' or '.join(f'{scheme}://' for scheme in schemes)}, this one {given}.",
            hint=None if private_allowed else "the server's setting webhook_private_addresses allows http as well",
        )
    if not host or port == 0:
        raise InvalidInput(f"a webhook's URL names a host and no port 0, this one is {parts.scheme}://{host}.")
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise InvalidInput(f"{host!r} is not the name of a host: {error}.") from error
    if re.search(r"[^!-~]", parts.path + parts.query) or re.search(r"\s", host):
        raise InvalidInput(f"the URL at {host!r} has a space or a letter that a URL has to encode, such as %20.")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("a webhook's URL cannot carry a user name or password: use a secret, which signs.")
    if not private_allowed and _is_private_name(host):
        raise _private(host)
    return parts


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    private_allowed: bool,
    reads_body: bool = False,
    connect_limit_s: float = _CONNECT_LIMIT_S,
    limit_s: float = _WHOLE_LIMIT_S,
) -> Answer:
    """Raises Unavailable where no answer came, InvalidInput where the address may not be sent to."""
    from http.client import HTTPException  # with TLS behind it, which a command that sends nothing need not load

    parts = require_sendable(url, private_allowed=private_allowed)
    connection = _connection(parts)
    # The hook that both classes open their socket with: it comes before any handshake.
    deadline = time.monotonic() + limit_s
    guarded = _guarded(private_allowed, each_s=connect_limit_s, until=deadline)
    connection._create_connection = guarded  # type: ignore[attr-defined]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    is_over = threading.Event()
    with contextlib.closing(connection):
        try:
            connection.connect()  # which ends by itself, at the deadline
            with _limited(connection.sock, deadline - time.monotonic(), is_over):
                connection.request("POST", target, body=body, headers=dict(headers))
                with connection.getresponse() as answer:  # or what of it is not read keeps the socket open
                    # What was cut off in the middle of its headers may still look like an answer.
                    if not is_over.is_set():
                        return Answer(answer.status, _beginning(answer) if reads_body else "")
            cause: Exception | None = None
        except (OSError, HTTPException, UnicodeError) as error:
            cause = error
    # A socket that was shut down says so in many ways; the limit is the reason behind them all.
    reason = f"not within {limit_s:g} seconds" if is_over.is_set() else str(cause) or type(cause).__name__
    raise Unavailable(f"no answer from {parts.hostname}: {reason}.") from cause


def _beginning(answer: "HTTPResponse") -> str:
    """Of the body, as far as it came: the receiver has answered, whatever becomes of the rest."""
    from http.client import HTTPException

    try:
        return answer.read(_MAX_BODY).decode(errors="replace")
    except (OSError, HTTPException):
        return ""


def _connection(parts: SplitResult) -> "HTTPConnection":
    import ssl
    from http.client import HTTPConnection, HTTPSConnection

    assert parts.hostname is not None
    if parts.scheme == "http":
        return HTTPConnection(parts.hostname, parts.port or 80)
    # Without a port it would look for one behind the last colon, where an IPv6 address has its last group.
    port, context = parts.port or 443, ssl.create_default_context()
    return HTTPSConnection(parts.hostname, port, context=context)


@contextlib.contextmanager
def _limited(opened: socket.socket, left_s: float, is_over: threading.Event) -> Iterator[None]:
    """Ends what takes longer by shutting its socket down, which the connection forgets once an answer has begun."""

    def end() -> None:
        is_over.set()
        with contextlib.suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(left_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _guarded(private_allowed: bool, *, each_s: float, until: float) -> Callable[..., socket.socket]:
    """What opens a socket, and only to addresses that may be sent to: one that was tried would tell what is there.

    It waits `each_s` for an address, and for all of them `until` the deadline.
    """

    def open_socket(peer: tuple[str, int], source: tuple[str, int] | None) -> socket.socket:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        opened = socket.create_connection(peer, min(each_s, left_s), source)
        opened.settimeout(left_s)  # for a receiver that takes its time to answer; it is also all that ends a handshake
        return opened

    def connect(address: tuple[str, int], timeout: object, source: tuple[str, int] | None = None) -> socket.socket:
        host, port = address
        found = [str(told[4][0]) for told in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        for peer in () if private_allowed else found:
            if not _is_public(ipaddress.ip_address(peer.partition("%")[0])):
                raise _private(f"{host} ({peer})" if peer != host else peer)
        for peer in found[:-1]:
            with contextlib.suppress(OSError):
                return open_socket((peer, port), source)
        return open_socket((found[-1], port), source)

    return connect


def _is_private_name(host: str) -> bool:
    """Whether a host cannot be public, without asking anybody what it means."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not _is_public(ipaddress.ip_address(host))
    except ValueError:
        # 127.1 and 0x7f000001 are addresses to some resolvers.
        return host.replace(".", "").isdigit() or host.lower().startswith("0x")


def _is_public(address: _Address) -> bool:
    """Whether the address is global, also when it wraps an IPv4 address that is not."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _LOCAL_NAT64:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
        # `::/8` holds forms of old to write IPv4 in, and what is reserved leads only where somebody has routed it.
        if address.is_site_local or address.is_reserved:
            return False
    return address.is_global and not address.is_multicast


def _private(host: str) -> InvalidInput:
    return InvalidInput(
        f"a webhook cannot send to {host}: it is not a public address.",
        hint="the server's setting webhook_private_addresses allows it",
    )
