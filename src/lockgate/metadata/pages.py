"""Pages of a search: an opaque token that says where the next one starts."""

import base64
import binascii
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, Select

from lockgate.errors import InvalidInput


class Page(NamedTuple):
    """Some rows; `next_token` is empty on the last page."""

    rows: Sequence[RowMapping]
    next_token: str


def fetch_page(connection: Connection, query: Select[*tuple[object, ...]], *, max_results: int, token: str) -> Page:
    """Raises InvalidInput for a token that is none of ours and for a page size that is not positive."""
    if max_results < 1:
        raise InvalidInput(f"max_results is {max_results}, expected at least 1.")
    offset = decode_offset(token)
    rows = connection.execute(query.limit(max_results + 1).offset(offset)).mappings().all()
    more = len(rows) > max_results
    return Page(rows[:max_results], encode_offset(offset + max_results) if more else "")


def encode_offset(offset: int) -> str:
    return base64.urlsafe_b64encode(b"o%d" % offset).decode()


def decode_offset(token: str) -> int:
    """Where the page that `token` asks for begins. Raises InvalidInput for a token that is not ours."""
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode()
        if not text.startswith("o") or not text[1:].isdigit() or len(text) > 19:
            raise ValueError(text)
        return int(text[1:])
    except (ValueError, binascii.Error, UnicodeError):
        raise InvalidInput(f"{token!r} is not a page token of this server.") from None
