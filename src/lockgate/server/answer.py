"""Answers: a struct as JSON, an error as MLflow's error body."""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

import msgspec
from starlette.types import Send

from lockgate.errors import LockgateError, TooManyRequests, Unauthenticated
from lockgate.ids import new_sortable_id

log = logging.getLogger("lockgate.server")

T = TypeVar("T")
_encoder = msgspec.json.Encoder()


# (SQLSTATE, class) by error code, as MLflow's server writes them: its client knows them by `sqlstate`, `error_class`.
_CLASSES = {
    "INVALID_PARAMETER_VALUE": ("KAM00", "INVALID_PARAMETER_VALUE"),
    "RESOURCE_DOES_NOT_EXIST": ("KAM00", "RESOURCE_NOT_FOUND"),
    "RESOURCE_ALREADY_EXISTS": ("KAM00", "RESOURCE_ALREADY_EXISTS"),
    "PERMISSION_DENIED": ("KAM00", "PERMISSION_DENIED"),
    "INVALID_STATE": ("XXM00", "CLIENT_INTERNAL_ERROR"),
    "INTERNAL_ERROR": ("XXM00", "CLIENT_INTERNAL_ERROR"),
    "TEMPORARILY_UNAVAILABLE": ("XXM00", "CLIENT_INTERNAL_ERROR"),
}


class _ErrorBody(msgspec.Struct, omit_defaults=True):
    """What MLflow's clients read, and the hint that ours shows as well."""

    error_code: str
    message: str
    hint: str | None = None
    sqlstate: str | None = None
    error_class: str | None = None


def error_body(code: str, message: str, hint: str | None = None) -> bytes:
    return answer_struct(_ErrorBody(code, message, hint, *_CLASSES.get(code, ())))


def answer_struct(value: object) -> bytes:
    return _encoder.encode(value)


def pack(parts: Iterable[Sequence[T]]) -> tuple[T, ...]:
    """The items of all parts, for an answer, which encodes to the same as a tuple of them.

    Each part is encoded before the next is made: the JSON of a long list takes a tenth of the memory of its structs.
    """
    packed = bytearray(b"[")
    for part in parts:
        if part:
            end = len(packed) - 1
            _encoder.encode_into(part, packed, end)
            packed[end] = ord("," if end else "[")
        del part  # before the next is made
    if len(packed) == 1:
        return ()
    return cast("tuple[T, ...]", msgspec.Raw(packed))


class Answer(msgspec.Struct, frozen=True):
    """One whole answer in JSON; `headers` are further ones."""

    body: bytes
    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ()

    def all_headers(self) -> Sequence[tuple[bytes, bytes]]:
        length = str(len(self.body)).encode()
        return [(b"content-type", b"application/json"), (b"content-length", length), *self.headers]

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.all_headers()})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def answer_error(error: Exception) -> Answer:
    """The status and body of an error; of an unexpected one nothing but a request id leaves this process."""
    if isinstance(error, LockgateError):
        if error.http_status >= 500 and error.http_status != 501:  # what is not here is nobody's trouble
            log.error("%s: %s", error.code, error)
        return Answer(error_body(error.code, error.message, error.hint), error.http_status, _headers(error))
    request_id = new_sortable_id()
    log.error("request %s failed", request_id, exc_info=error)
    message = f"an internal error occurred; the server's log has it as request {request_id}."
    return Answer(error_body("INTERNAL_ERROR", message), 500)


def _headers(error: LockgateError) -> list[tuple[bytes, bytes]]:
    if isinstance(error, Unauthenticated):
        return [(b"www-authenticate", b'Basic realm="lockgate", charset="UTF-8"')]  # makes a browser ask for a login
    if isinstance(error, TooManyRequests):
        return [(b"retry-after", str(math.ceil(error.retry_after_s)).encode())]
    return []
