"""Files through the API: streamed in both directions, a piece of bounded size in memory at a time.

A download may ask for a range, so that a broken one is resumed; `ETag` and `If-Range` keep it from being continued with
another file. An upload is compared with what its headers promise, and is visible when it is whole or not at all.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from starlette.types import Receive, Scope, Send

from lockgate.errors import InvalidInput, LockgateError, PermissionDenied
from lockgate.server import files
from lockgate.server.admitted import admitted, require_for
from lockgate.server.answer import Answer, answer_struct, error_body
from lockgate.server.artifacts.downloads import attachment, content_type
from lockgate.server.artifacts.store import ABANDONED_MS, ArtifactInfo, OpenArtifact, Readable
from lockgate.server.artifacts.upload import CheckedUpload, announced
from lockgate.server.context import Context
from lockgate.server.meter import MEASURED
from lockgate.server.needs import Need, viewer
from lockgate.server.perform import audit_failure
from lockgate.server.ranges import OutsideOfFile, wanted_range
from lockgate.server.subjects import of_file
from lockgate.wire.mlflow.artifacts import DIGEST_HEADER

log = logging.getLogger("lockgate.server")

T = TypeVar("T")

_PIECE = 1 << 20
# Threads of its own: a store that is slow must not hold up the operations that only ask the database.
_THREADS = 8
# What is left of a refused upload is read and thrown away, so that its sender hears the reason; but not for ever.
_LONGEST_DISCARD = 1 << 30


class ArtifactProxy:
    """`GET` and `PUT /api/2.0/mlflow-artifacts/artifacts/<path>`."""

    def __init__(self, *, limit_bytes: int | None) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="lockgate-files")
        self._limit_bytes = limit_bytes

    def clean(self, context: Context) -> Future[None]:
        """Begin to remove what uploads have left that never ended, because their server was killed."""
        return self._pool.submit(_clean, context)

    def close(self) -> None:
        """End its threads."""
        self._pool.shutdown(wait=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = admitted(scope)
        scope[MEASURED].operation = f"artifact:{scope['method']}"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path_params"]["path"]
        if scope["method"] == "PUT":
            info = await self._admit_and_receive(context, path, headers, receive)
            await Answer(answer_struct({}), headers=_facts(info)).send(send)
            return
        await _require(viewer(of_file), context, scope["path_params"])
        await self._send(context, path, headers, receive, send, with_body=scope["method"] == "GET")

    async def _admit_and_receive(
        self, context: Context, path: str, headers: dict[str, str], receive: Receive
    ) -> ArtifactInfo:
        """Who is refused is told to the audit, as with operations."""
        act = files.upload_act(path)
        try:
            await _require(act.need, context, act.request)
            return await self._receive(context, path, headers, receive)
        except PermissionDenied as error:
            await asyncio.to_thread(audit_failure, context, act, error)
            raise

    async def _receive(self, context: Context, path: str, headers: dict[str, str], receive: Receive) -> ArtifactInfo:
        body = _Body(receive)
        try:
            return await self._store(context, path, headers, body)
        except LockgateError:
            await body.discard()
            raise

    async def _store(self, context: Context, path: str, headers: dict[str, str], body: "_Body") -> ArtifactInfo:
        length = headers.get("content-length", "")

        def begin() -> CheckedUpload:
            return files.begin_upload(
                context,
                path,
                size_bytes=int(length) if length.isdigit() else None,
                checksums=announced(headers),
                limit_bytes=self._limit_bytes,
            )

        piece, more = await body.piece()
        if not more:  # most files are small: one change of threads instead of three
            return await self._off(partial(_store_at_once, begin, piece))
        upload = await self._off(begin)
        try:
            await self._off(partial(upload.write, piece))
            while more:
                piece, more = await body.piece()
                await self._off(partial(upload.write, piece))
            return await self._off(upload.commit)
        except BaseException:
            await self._off(upload.abort)
            raise

    async def _send(
        self, context: Context, path: str, asked: dict[str, str], receive: Receive, send: Send, *, with_body: bool
    ) -> None:
        found = await self._off(lambda: files.open_file(context, path))
        try:
            try:
                part = _wanted(asked, found)
            except OutsideOfFile as error:
                size = [(b"content-range", f"bytes */{found.info.size_bytes}".encode())]
                await Answer(error_body(error.code, error.message), error.http_status, size).send(send)
                return
            headers = _headers(path, found, part)
            await send({"type": "http.response.start", "status": 206 if part else 200, "headers": headers})
            if with_body:
                await self._send_bytes(found.content, part or range(found.info.size_bytes), receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._off(found.content.close)

    async def _send_bytes(self, content: Readable, part: range, receive: Receive, send: Send) -> None:
        if part.start:
            await self._off(lambda: content.seek(part.start))
        left = len(part)
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            while left and not gone.done() and (piece := await self._off(partial(content.read, min(left, _PIECE)))):
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            gone.cancel()

    async def _off(self, function: Callable[[], T]) -> T:
        """Files block: never on the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


async def _require(need: Need, context: Context, request: object) -> None:
    if context.caller.rights is not None:
        await asyncio.to_thread(require_for, need, context, request)


async def _until_gone(receive: Receive) -> None:
    """Return when nobody is left to send to, which `send` does not say."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _clean(context: Context) -> None:
    try:
        cleaned = context.artifacts.clean(before_ms=context.clock.now_ms() - ABANDONED_MS)
    except (LockgateError, OSError) as error:
        log.warning("leftovers of uploads could not be looked for, the next start tries again: %s", error)
        return
    if cleaned:
        log.info("removed what %d uploads have left that never ended", cleaned)


def _store_at_once(begin: Callable[[], CheckedUpload], data: bytes) -> ArtifactInfo:
    upload = begin()
    try:
        upload.write(data)
        return upload.commit()
    except BaseException:
        upload.abort()
        raise


class _Body:
    """What a client sends, in pieces that are worth a write each."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_over = False

    async def piece(self) -> tuple[bytes, bool]:
        """The next one, and whether more come. Raises InvalidInput where the client goes away before the end."""
        parts: list[bytes] = []
        size = 0
        while size < _PIECE and not self._is_over:
            parts.append(await self._part())
            size += len(parts[-1])
        return b"".join(parts), not self._is_over

    async def discard(self) -> None:
        """Read what is left."""
        size = 0
        while not self._is_over and size < _LONGEST_DISCARD:
            try:
                size += len(await self._part())
            except InvalidInput:
                return  # nobody is left to hear the reason

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._is_over = True
            raise InvalidInput("the upload ended before it was complete; nothing was stored.")
        self._is_over = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part


def _wanted(asked: dict[str, str], found: OpenArtifact) -> range | None:
    """The bytes that are asked for; None means all. Raises OutsideOfFile."""
    if asked.get("if-range", _etag(found.info)) != _etag(found.info):
        return None  # the file is another one by now: a part of it would not fit what the client has
    return wanted_range(asked.get("range", ""), found.info.size_bytes)


def _headers(path: str, found: OpenArtifact, part: range | None) -> list[tuple[bytes, bytes]]:
    size = found.info.size_bytes
    headers = [
        (b"content-type", content_type(path).encode()),
        (b"content-length", str(size if part is None else len(part)).encode()),
        (b"accept-ranges", b"bytes"),
        # A file that somebody logged must never run as a page of this server.
        (b"content-disposition", attachment(path).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-cache"),  # a plot may be logged again
        *_facts(found.info),
    ]
    if part is not None:
        headers.append((b"content-range", f"bytes {part.start}-{part.stop - 1}/{size}".encode()))
    return headers


def _facts(info: ArtifactInfo) -> list[tuple[bytes, bytes]]:
    facts = [(b"etag", _etag(info).encode())]
    if info.digest is not None:
        facts.append((DIGEST_HEADER.encode(), info.digest.encode()))
    return facts


def _etag(info: ArtifactInfo) -> str:
    return f'"{info.etag.strip(chr(34))}"'
