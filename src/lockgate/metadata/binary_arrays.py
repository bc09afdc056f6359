"""Arrays as PostgreSQL takes them in binary: nothing is written as a text, and nothing has to be read as one.

    int32 dimensions, 1 | int32 whether there are NULLs, 0 | uint32 type of the elements | int32 length | int32 1
    and for each element: int32 its bytes | the element, in network byte order

That is what `array_recv` reads (src/backend/utils/adt/arrayfuncs.c); the numbers of types are in pg_type.dat.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from lockgate.errors import InvalidInput

_TEXT = 25
# Number of the type and, as the module array has it, what an element is.
_NUMBERS = {"BOOLEAN": (16, "b"), "BIGINT": (20, "q"), "INTEGER": (23, "i"), "DOUBLE PRECISION": (701, "d")}


def binary_array(kind: str, values: Sequence[Any]) -> bytes:
    """The values of a column of that type, none of them None. Raises InvalidInput for a number that does not fit."""
    if kind == "TEXT":
        return _head(_TEXT, len(values)) + b"".join(_texts(values))
    number, code = _NUMBERS[kind]
    try:
        numbers = array(code, values)
    except OverflowError as error:
        raise InvalidInput("a number is too large for the database to keep.") from error
    if sys.byteorder == "little":
        numbers.byteswap()
    plain, width = numbers.tobytes(), numbers.itemsize
    elements = bytearray((struct.pack("!i", width) + bytes(width)) * len(values))
    for place in range(width):  # a byte of all elements at once: one element after the other takes four times as long
        elements[4 + place :: 4 + width] = plain[place::width]
    return _head(number, len(values)) + elements


def _head(number: int, length: int) -> bytes:
    return struct.pack("!iiIii", 1, 0, number, length, 1)


def _texts(values: Iterable[str]) -> Iterable[bytes]:
    for value in values:
        encoded = value.encode()
        yield struct.pack("!i", len(encoded)) + encoded
