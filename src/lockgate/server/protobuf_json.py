"""What protobuf's JSON mapping takes besides what it writes: fields in lowerCamelCase, enumerations by number.

MLflow's server takes both, and a field that is not known by its other name would be ignored without a word.
"""

import re
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from lockgate.errors import InvalidInput


def as_written(value: Any, wanted: Any) -> Any:  # any JSON value, for any type of a message's field
    """`value` with the names of `wanted`. What fits neither stays for its decoder to refuse.

    Raises InvalidInput where a field is given under both its names.

    >>> from lockgate.wire.mlflow.runs import UpdateRun
    >>> as_written({"status": 3, "runId": "a"}, UpdateRun)
    {'status': 'FINISHED', 'run_id': 'a'}
    """
    origin = get_origin(wanted)
    if isinstance(value, dict) and isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return _fields_as_written(value, wanted)
    if isinstance(value, list) and origin is tuple:
        return [as_written(item, get_args(wanted)[0]) for item in value]
    if origin is Literal:
        return _named(value, get_args(wanted))
    if origin is Annotated:
        return as_written(value, get_args(wanted)[0])
    if NoneType in get_args(wanted):
        (other, *more) = (kind for kind in get_args(wanted) if kind is not NoneType)
        return value if more else as_written(value, other)
    return value


def _fields_as_written(value: dict[str, Any], wanted: type[msgspec.Struct]) -> dict[str, Any]:
    written = dict(value)
    for name, camel, kind in _fields(wanted):
        if camel != name and camel in written:
            if name in written:
                raise InvalidInput(f"Request specifies both '{name}' and '{camel}'; provide only one of them.")
            written[name] = written.pop(camel)
        if name in written:
            written[name] = as_written(written[name], kind)
    return written


@cache
def _fields(wanted: type[msgspec.Struct]) -> tuple[tuple[str, str, Any], ...]:  # the third is any type
    """(name, the same in lowerCamelCase, type) of each."""
    names = [(field.encode_name, field.type) for field in msgspec.structs.fields(wanted)]
    return tuple((name, re.sub("_(.)", lambda found: found[1].upper(), name), kind) for name, kind in names)


def _named(value: Any, names: tuple[str, ...]) -> Any:  # any JSON value
    """Enumerations have their names in protobuf's order, which begins at 1 where 0 is not a name of its own."""
    first = 0 if names[0].endswith("_UNSPECIFIED") else 1
    number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,2}", value) else value
    if isinstance(number, int) and not isinstance(number, bool) and first <= number < first + len(names):
        return names[number - first]
    return value
