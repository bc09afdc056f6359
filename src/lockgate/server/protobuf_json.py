"""What protobuf's JSON mapping takes besides what it writes: fields in lowerCamelCase, enumerations by number.

MLflow's server takes both, and a field that is not known by its other name would be ignored without a word.
"""

import re
from functools import cache
from string import ascii_uppercase
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from lockgate.errors import InvalidInput

_CAPITALS = ascii_uppercase.encode()
_AS_ONE = bytes.maketrans(_CAPITALS, b"A" * len(_CAPITALS))
_OTHERS = bytes(set(range(256)) - {*_CAPITALS, *b'":'})


def may_be_spelled_otherwise(body: bytes) -> bool:
    """Whether a field may be in lowerCamelCase; an enumeration by number is noticed where it is decoded."""
    # Without what is small a capital of such a name is next to its quote and colon. A regular expression takes ten
    # times as long to find one.
    return b'A":' in body.translate(_AS_ONE, _OTHERS)


def as_written(value: Any, wanted: Any) -> Any:  # any JSON value, for any type of a message's field
    """`value` with the names of `wanted`. What fits neither stays for its decoder to refuse.

    Raises InvalidInput where a field is given under both its names.

    >>> from lockgate.wire.mlflow.runs import UpdateRun
    >>> as_written({"status": 3, "runId": "a"}, UpdateRun)
    {'status': 'FINISHED', 'run_id': 'a'}
    """
    kind = _inner(wanted)
    if isinstance(value, list) and get_origin(kind) is tuple:
        item = _inner(get_args(kind)[0])
        return value if item is None else [as_written(one, item) for one in value]
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _fields_as_written(value, kind)
    return _named(value, get_args(kind)) if get_origin(kind) is Literal else value


def _fields_as_written(value: dict[str, Any], wanted: type[msgspec.Struct]) -> dict[str, Any]:
    written = dict(value)
    for name, camel, kind in _fields(wanted):
        if camel != name and camel in written:
            if name in written:
                raise InvalidInput(f"Request specifies both '{name}' and '{camel}'; provide only one of them.")
            written[name] = written.pop(camel)
        if kind is not None and name in written:
            written[name] = as_written(written[name], kind)
    return written


@cache
def _fields(wanted: type[msgspec.Struct]) -> tuple[tuple[str, str, Any], ...]:  # the third is any type
    """(name, the same in lowerCamelCase, type) of each that has another name or may hold one."""
    found = []
    for field in msgspec.structs.fields(wanted):
        name, kind = field.encode_name, _inner(field.type)
        camel = re.sub("_(.)", lambda after: after[1].upper(), name)
        if camel != name or kind is not None:
            found.append((name, camel, kind))
    return tuple(found)


@cache
def _inner(kind: Any) -> Any:  # any type of a field
    """What of it can be written otherwise, a struct, an enumeration or a tuple of them; None for a plain type."""
    if get_origin(kind) is Annotated:
        return _inner(get_args(kind)[0])
    if NoneType in get_args(kind):
        (other, *more) = (one for one in get_args(kind) if one is not NoneType)
        return None if more else _inner(other)
    if get_origin(kind) is tuple:
        return None if _inner(get_args(kind)[0]) is None else kind
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return kind if is_struct or get_origin(kind) is Literal else None


def _named(value: Any, names: tuple[str, ...]) -> Any:  # any JSON value
    """Enumerations have their names in protobuf's order, which begins at 1 where 0 is not a name of its own."""
    first = 0 if names[0].endswith("_UNSPECIFIED") else 1
    number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,2}", value) else value
    if isinstance(number, int) and not isinstance(number, bool) and first <= number < first + len(names):
        return names[number - first]
    return value
