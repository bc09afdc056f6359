"""Arrays as PostgreSQL takes them in binary: nothing is written as a text, and nothing has to be read as one.

    int32 dimensions, 1 | int32 whether there are NULLs, 0 | uint32 type of the elements | int32 length | int32 1
    and for each element: int32 its bytes | the element, in network byte order

That is what `array_recv` reads (src/backend/utils/adt/arrayfuncs.c); the numbers of types are in pg_type.dat.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import repeat

from sqlalchemy import BigInteger, Boolean, Double, String
from sqlalchemy.types import TypeEngine

from lockgate.errors import InvalidInput

_BOOL, _INT8, _TEXT, _FLOAT8 = 16, 20, 25, 701
# One element each: a format as long as the array would be compiled for every length, and kept.
_NUMBERS = {BigInteger: (_INT8, struct.Struct("!iq").pack), Double: (_FLOAT8, struct.Struct("!id").pack)}
_TRUTH = {truth: struct.pack("!i?", 1, truth) for truth in (False, True)}


def binary_array(kind: TypeEngine[object], values: Sequence[object]) -> bytes:
    """The values of a column, none of them None. Raises InvalidInput for a number that does not fit."""
    if isinstance(kind, String):
        return _head(_TEXT, len(values)) + b"".join(_texts(values))
    if isinstance(kind, Boolean):
        return _head(_BOOL, len(values)) + b"".join([_TRUTH[bool(value)] for value in values])
    number, pack = _NUMBERS[type(kind)]
    try:
        packed = b"".join(map(pack, repeat(8), values))
    except struct.error as error:
        raise InvalidInput("a number is too large for the database to keep.") from error
    return _head(number, len(values)) + packed


def _head(number: int, length: int) -> bytes:
    return struct.pack("!iiIii", 1, 0, number, length, 1)


def _texts(values: Iterable[object]) -> Iterable[bytes]:
    known: dict[object, bytes] = {}  # most often a few keys, each of them very often
    for value in values:
        packed = known.get(value)
        if packed is None:
            encoded = str(value).encode()
            packed = known[value] = struct.pack("!i", len(encoded)) + encoded
        yield packed
