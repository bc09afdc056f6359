"""The header `Range` of a download: which bytes of a file are wanted (RFC 9110, section 14)."""

import re

from lockgate.errors import InvalidInput

# One range: `bytes=0-99`, `bytes=100-`, `bytes=-100`. Several at once may be answered with the whole file, and are.
_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


class OutsideOfFile(InvalidInput):
    """The range begins after the last byte."""

    http_status = 416


def wanted_range(header: str, size: int) -> range | None:
    """The bytes that are asked for; None for the whole file, also where the header is nothing we know.

    Raises OutsideOfFile.
    """
    match = _ONE_RANGE.fullmatch(header.replace(" ", ""))
    if match is None:
        return None
    first, last, final = match.groups()
    if final is not None:
        start, stop = max(size - int(final), 0), size
    else:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return None
    if start >= size or start >= stop:
        raise OutsideOfFile(f"the range {header!r} lies outside of a file of {size} bytes.")
    return range(start, stop)
