"""A request's body, never more of it in memory than is allowed."""

from typing import Any

from lockgate.errors import InvalidInput, PayloadTooLarge


def is_sure_to_fit(scope: Any, limit_bytes: int) -> bool:  # granian's object, which has no stubs
    """True where the announced length is known to be allowed, so that the body can be read in one go."""
    length = scope.headers.get("content-length")
    return length is not None and length.isdigit() and int(length) <= limit_bytes


async def read_body(scope: Any, protocol: Any, limit_bytes: int) -> bytes:
    """The whole body. Raises PayloadTooLarge before a byte of it is read where its length says so."""
    announced = scope.headers.get("content-length")
    if announced is not None:
        if not announced.isdigit():
            raise InvalidInput(f"content-length is no number: {announced!r}.")
        if int(announced) > limit_bytes:
            raise _too_large(f"{int(announced) >> 20} MB", limit_bytes)
        body: bytes = await protocol()
        return body
    parts = []
    size = 0
    async for part in protocol:
        size += len(part)
        if size > limit_bytes:
            raise _too_large("larger", limit_bytes)
        parts.append(bytes(part))
    return b"".join(parts)


def _too_large(size: str, limit_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the body is {size}; at most {limit_bytes >> 20} MB are read.",
        hint="send fewer rows a request, or raise the setting max_body_mb; lockgate predict scores whole files",
    )
