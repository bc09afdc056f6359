"""Addresses of servers and databases that hold a login: http://ann:secret@host, postgresql://ann:secret@host/db."""

import re
from urllib.parse import unquote, urlsplit, urlunsplit

from lockgate.errors import InvalidInput

# To the last @: who wrote a password with a / or @ in it, without escaping that, must not find it in a message either.
_LOGIN = re.compile(r"(?<=://)[^/].*@|^[^/]*@")
_PASSWORD = re.compile(r"(?<=[?&]password=)[^&]*", re.IGNORECASE)


def without_login(uri: str) -> str:
    """As it may be printed."""
    return _PASSWORD.sub("***", _LOGIN.sub("***@", uri))


def split_login(uri: str) -> tuple[str, str, str]:
    """(address without it, user, password); one that has none is returned as it is. Raises InvalidInput."""
    try:
        parts = urlsplit(uri if "//" in uri else f"http://{uri}")
    except ValueError as error:
        raise InvalidInput(f"{without_login(uri)!r} is not the address of a server: {error}.") from error
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return uri, "", ""
    user, _, password = login.partition(":")
    return urlunsplit(parts._replace(netloc=host)), unquote(user), unquote(password)
