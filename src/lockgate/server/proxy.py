"""Files through the API: streamed in both directions, a piece of bounded size in memory at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO, TypeVar

from starlette.types import Receive, Scope, Send

from lockgate.errors import Unavailable
from lockgate.server import files
from lockgate.server.answer import send_bytes
from lockgate.server.context import Context

T = TypeVar("T")

_PIECE = 1 << 20


class ArtifactProxy:
    """`GET` and `PUT /api/2.0/mlflow-artifacts/artifacts/<path>`."""

    def __init__(self, context: Context, pool: ThreadPoolExecutor) -> None:
        self._context = context
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path_params"]["path"]
        if scope["method"] == "PUT":
            await self._receive(path, receive)
            await send_bytes(send, 200, b"{}")
        else:
            await self._send(path, send, with_body=scope["method"] == "GET")

    async def _receive(self, path: str, receive: Receive) -> None:
        files.require_writable(path)
        replacing = self._context.artifacts.replacing(path)
        file = await self._off(replacing.__enter__)
        try:
            await self._copy(receive, file)
        except BaseException as raised:
            error = raised  # a lambda must not hold the name that `except` deletes
            await self._off(lambda: _leave(replacing, error))
            raise
        await self._off(lambda: replacing.__exit__(None, None, None))

    async def _copy(self, receive: Receive, file: BinaryIO) -> None:
        pending: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Unavailable("the client went away before its upload was complete; nothing was stored.")
            part = message.get("body", b"")
            more = message.get("more_body", False)
            pending.append(part)
            size += len(part)
            if size >= _PIECE or not more:
                await self._off(partial(file.write, b"".join(pending)))
                pending, size = [], 0

    async def _send(self, path: str, send: Send, *, with_body: bool) -> None:
        file = await self._off(lambda: files.open_file(self._context, path))
        try:
            length = await self._off(lambda: _length(file))
            headers = [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", str(length).encode()),
                # A file that somebody logged must never run as a page of this server.
                (b"content-disposition", b"attachment"),
                (b"x-content-type-options", b"nosniff"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while with_body and length > 0:
                piece = await self._off(lambda: file.read(_PIECE))
                if not piece:
                    break
                length -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            file.close()

    async def _off(self, function: Callable[[], T]) -> T:
        """Files block: never on the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


def _leave(replacing: AbstractContextManager[BinaryIO], error: BaseException) -> None:
    try:
        replacing.__exit__(type(error), error, error.__traceback__)
    except BaseException as raised:
        if raised is not error:
            raise


def _length(file: BinaryIO) -> int:
    length = file.seek(0, 2)
    file.seek(0)
    return length
