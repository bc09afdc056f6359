"""Bearer tokens: `lockgate_<id>_<secret>`, 256 random bits that are shown once.

The prefix lets secret scanners find a token that was committed: `lockgate_[0-9a-f]{12}_[0-9a-f]{64}`. The id finds the
row, the secret is compared by its digest: nobody guesses 256 bits, so a plain hash does where a password needs scrypt.
"""

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

from lockgate.errors import InvalidInput

_FORM = re.compile(r"lockgate_([0-9a-f]{12})_([0-9a-f]{64})")
_ID = re.compile(r"[0-9a-f]{12}")
_SECRET = re.compile(r"(lockgate_[0-9a-f]{12}_)[0-9a-f]+")


class NewToken(NamedTuple):
    """`text` is what the user gets, `digest` what is kept."""

    token_id: str
    text: str
    digest: str


class PresentedToken(NamedTuple):
    """A token as somebody sent it."""

    token_id: str
    digest: str


def new_token() -> NewToken:
    token_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    return NewToken(token_id, f"lockgate_{token_id}_{secret}", _digest(secret))


def read_token(text: str) -> PresentedToken | None:
    """None for what is no token of ours."""
    match = _FORM.fullmatch(text)
    return PresentedToken(match[1], _digest(match[2])) if match else None


def id_of(text: str) -> str:
    """The id, where an id or a whole token was given. Raises InvalidInput, which may show no secret, for other text."""
    match = _FORM.fullmatch(text)
    token_id = match[1] if match else text
    if not _ID.fullmatch(token_id):
        raise InvalidInput(
            "this is not the id of a token: 12 digits from 0 to f.", hint="lockgate tokens lists them all"
        )
    return token_id


def without_secrets(text: str) -> str:
    """The text, in which tokens, or what is left of one, are known by their ids alone.

    >>> without_secrets("lost: lockgate_3f9c0a51b2d4_58a0")
    'lost: lockgate_3f9c0a51b2d4_***'
    """
    return _SECRET.sub(r"\1***", text)


def is_same_secret(one: str, other: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
