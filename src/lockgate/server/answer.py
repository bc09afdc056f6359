"""Answers: a struct as JSON, an error as MLflow's error body."""

import logging
import math
from collections.abc import Sequence

import msgspec
from starlette.types import Send

from lockgate.errors import LockgateError, TooManyRequests, Unauthenticated
from lockgate.ids import new_sortable_id

log = logging.getLogger("lockgate.server")

_encoder = msgspec.json.Encoder()


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """What MLflow's clients read, and the hint that ours shows as well."""

    error_code: str
    message: str
    hint: str | None = None


def answer_struct(value: object) -> bytes:
    return _encoder.encode(value)


async def send_bytes(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = b"application/json",
    *,
    close: bool = False,
    further: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """One whole answer, with `further` headers."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *further]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def answer_error(send: Send, error: Exception) -> None:
    """The status and body of an error; of an unexpected one nothing but a request id leaves this process."""
    if isinstance(error, LockgateError):
        if error.http_status >= 500 and error.http_status != 501:  # what is not here is nobody's trouble
            log.error("%s: %s", error.code, error)
        body = ErrorBody(error.code, error.message, error.hint)
        await send_bytes(send, error.http_status, answer_struct(body), further=_headers(error))
        return
    request_id = new_sortable_id()
    log.error("request %s failed", request_id, exc_info=error)
    body = ErrorBody("INTERNAL_ERROR", f"an internal error occurred; the server's log has it as request {request_id}.")
    await send_bytes(send, 500, answer_struct(body))


def _headers(error: LockgateError) -> list[tuple[bytes, bytes]]:
    if isinstance(error, Unauthenticated):
        return [(b"www-authenticate", b'Basic realm="lockgate", charset="UTF-8"')]  # makes a browser ask for a login
    if isinstance(error, TooManyRequests):
        return [(b"retry-after", str(math.ceil(error.retry_after_s)).encode())]
    return []
