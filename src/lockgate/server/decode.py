"""From the bytes of a request to the struct of its operation."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope

from lockgate.errors import InvalidInput, PayloadTooLarge
from lockgate.server.protobuf_json import as_written, may_be_spelled_otherwise
from lockgate.wire.operation import OWN_PREFIX, Operation, Req, Res

# A body that is too large is read to its end and thrown away, so that the client gets our answer and not a reset
# connection; but not for ever.
_LONGEST_DISCARD = 1 << 30

# What is decoded for each takes some hundred bytes, and the interpreter, which others wait for. An honest request has
# a tenth of them: the values of `LOG_SERIES` in their columns.
_MAX_MARKS = 1 << 19

_encoder = msgspec.json.Encoder()
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """Empty where a GET has asked in its address. Raises PayloadTooLarge above `limit` bytes."""
    if scope["method"] == "GET" and scope["query_string"]:
        return b""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("the request ended before its body was complete.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        else:
            parts.clear()
        if not message.get("more_body", False) or size > _LONGEST_DISCARD:
            break
    if size > limit:
        raise PayloadTooLarge(
            f"the request body has more than {limit >> 20} MiB.",
            hint="send less at once, or raise the server's setting max_body_mb",
        )
    return b"".join(parts)


def decode_request(operation: Operation[Req, Res], *, query: bytes, body: bytes, path_params: Mapping[str, str]) -> Req:
    """The typed request. Raises InvalidInput naming the field that does not fit, PayloadTooLarge for too many."""
    _require_few_values(body)
    is_own = operation.path.startswith(OWN_PREFIX)
    if operation.method != "GET" and not path_params and (is_own or not may_be_spelled_otherwise(body)):
        try:
            request: Req = msgspec.json.decode(body or b"{}", type=operation.request, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # a null, a bare NaN or a real mistake: the slow way below tells them apart
        else:
            if b"\\u" in body:  # JSON has both escaped, and to look into every text takes as long as to decode
                require_storable(request)
            return request
    is_in_address = operation.method == "GET" and (query or not body)
    given = _query(operation, query) if is_in_address else _object(body)
    if not is_own:
        given = as_written(given, operation.request)
    request = _convert(operation, {**given, **path_params})
    require_storable(request)
    return request


def require_storable(request: msgspec.Struct) -> None:
    """Raises InvalidInput for a text that PostgreSQL cannot keep, so that SQLite does not keep it either.

    That is a NUL, and half of a surrogate pair.
    """
    try:
        encoded = _encoder.encode(request)
    except UnicodeEncodeError as error:
        raise InvalidInput("the request has a text that is not valid Unicode.") from error
    if b"\\u0000" in encoded and _NUL.search(encoded):  # the first look takes a microsecond, and finds nothing
        raise InvalidInput("the request has a text with a NUL character, which cannot be stored.")


def _require_few_values(body: bytes) -> None:
    """Raises PayloadTooLarge: a body of 60 MB that is all `{},{},` would take gigabytes.

    Those in texts count as well. To leave them out takes as long as to decode, and no text of a request has so many.
    """
    if len(body) > _MAX_MARKS and sum(body.count(mark) for mark in (b",", b"[", b"{")) > _MAX_MARKS:
        raise PayloadTooLarge(
            f"the request body has more than {_MAX_MARKS} commas and opening brackets.", hint="send less at once"
        )


def _convert(operation: Operation[Req, Res], values: dict[str, Any]) -> Req:
    try:
        return msgspec.convert(values, operation.request, strict=False)
    except msgspec.ValidationError as error:
        text = str(error)
        missing = text.removeprefix("Object missing required field `").partition("`")[0]
        if missing != text.partition("`")[0]:
            raise InvalidInput(f"Missing value for required parameter '{missing}'.") from error
        raise InvalidInput(f"Invalid value for a parameter: {text}.") from error
    except UnicodeEncodeError as error:  # half of a surrogate pair, where a text stands for something else
        raise InvalidInput("the request has a text that is not valid Unicode.") from error


def _object(body: bytes) -> dict[str, Any]:
    """A JSON object without its nulls: for protobuf's JSON mapping a null is an absent field."""
    try:
        # The standard library reads the bare NaN that some clients write.
        value = _without_nulls(json.loads(body or b"{}"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the request body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidInput("the request body is not a JSON object.")
    return value


def _without_nulls(value: Any) -> Any:  # any JSON value
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _query(operation: Operation[Req, Res], query: bytes) -> dict[str, Any]:
    """Query parameters that the struct has; one that it holds many of stays a list."""
    try:
        pairs = parse_qs(query.decode(), keep_blank_values=True, max_num_fields=10_000)
    except ValueError as error:
        raise InvalidInput(f"the query string cannot be read: {error}.") from error
    many = operation.list_fields
    known = operation.request.__struct_encode_fields__
    return {key: pairs[key] if key in many else pairs[key][0] for key in known if key in pairs}
