"""Passwords by scrypt (RFC 7914), each hash with its own salt and with the parameters that it was made with.

N = 2^15, r = 8, p = 3 costs 32 MiB and a third of a second of one core, one of the settings that OWASP's Password
Storage Cheat Sheet holds to be enough. Hashes made with other parameters stay valid, so these can be raised.
"""

import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple

from lockgate.errors import InvalidInput

MIN_LENGTH = 12  # MLflow's own rule
_MAX_LENGTH = 1024
_SALT_BYTES = 16
_KEY_BYTES = 32


class Cost(NamedTuple):
    """scrypt's parameters: memory is 128 * n * r bytes, time grows with n * r * p."""

    n: int
    r: int
    p: int


COST = Cost(n=1 << 15, r=8, p=3)


def hash_password(password: str, *, cost: Cost = COST) -> str:
    """`scrypt$n$r$p$salt$key`. Raises InvalidInput for a password that is too short or too long."""
    if not MIN_LENGTH <= len(password) <= _MAX_LENGTH:
        raise InvalidInput(f"a password has {MIN_LENGTH} to {_MAX_LENGTH} characters, not {len(password)}.")
    salt = secrets.token_bytes(_SALT_BYTES)
    return _join(salt, _derive(password, salt, cost), cost)


def verify_password(password: str, stored: str) -> bool:
    """Whether `stored` was made of this password; in the same time for a right and a wrong one."""
    _, n, r, p, salt, key = stored.split("$")
    derived = _derive(password, base64.b64decode(salt), Cost(int(n), int(r), int(p)))
    return hmac.compare_digest(derived, base64.b64decode(key))


def nobodys_hash() -> str:
    """A hash that no password has: an unknown name must cost the time of a wrong password."""
    return _join(secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_KEY_BYTES), COST)


def _derive(password: str, salt: bytes, cost: Cost) -> bytes:
    memory = 128 * cost.r * (cost.n + cost.p + 2)
    return hashlib.scrypt(
        password.encode(), salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=2 * memory, dklen=_KEY_BYTES
    )


def _join(salt: bytes, key: bytes, cost: Cost) -> str:
    return "$".join(("scrypt", *map(str, cost), base64.b64encode(salt).decode(), base64.b64encode(key).decode()))
