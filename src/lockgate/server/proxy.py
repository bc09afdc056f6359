"""Files through the API: streamed in both directions, a piece of bounded size in memory at a time.

A download may ask for a range, so that a broken one is resumed; `ETag` and `If-Range` keep it from being continued with
another file. An upload is compared with what its headers promise, and is visible when it is whole or not at all.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from starlette.types import Receive, Scope, Send

from lockgate.errors import InvalidInput, LockgateError, PermissionDenied
from lockgate.server import files
from lockgate.server.admitted import admitted, require_for
from lockgate.server.answer import Answer, answer_struct, error_body
from lockgate.server.artifacts.downloads import attachment, content_type
from lockgate.server.artifacts.store import ABANDONED_MS, ArtifactInfo, OpenArtifact, Readable, Replaced
from lockgate.server.artifacts.upload import CheckedUpload, announced
from lockgate.server.context import Context
from lockgate.server.login import FRESH_S
from lockgate.server.meter import MEASURED
from lockgate.server.needs import Need, viewer
from lockgate.server.perform import audit_failure
from lockgate.server.ranges import OutsideOfFile, wanted_range
from lockgate.server.subjects import of_file
from lockgate.server.workers import Workers
from lockgate.wire.mlflow.artifacts import DIGEST_HEADER

log = logging.getLogger("lockgate.server")

T = TypeVar("T")

_PIECE = 1 << 20
# What is left of a refused upload is read and thrown away, so that its sender hears the reason; but not for ever.
_LONGEST_DISCARD = 1 << 30
# Of these only one can be meant. The lines of any other header are one list (RFC 9110, 5.3).
_ONCE = frozenset({DIGEST_HEADER, "content-md5", "range", "if-range"})


class ArtifactProxy:
    """`GET` and `PUT /api/2.0/mlflow-artifacts/artifacts/<path>`; `POST` is what MLflow's pages upload, never empty."""

    def __init__(self, workers: Workers, *, limit_bytes: int | None) -> None:
        self._workers = workers
        self._limit_bytes = limit_bytes

    def clean(self, context: Context) -> Future[None]:
        """Begin to remove what uploads have left that never ended, because their server was killed."""
        return self._workers.begin(_clean, context)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = admitted(scope)
        scope[MEASURED].operation = f"artifact:{scope['method']}"
        path = scope["path_params"]["path"]
        if scope["method"] in ("PUT", "POST"):
            info = await self._admit_and_receive(scope, path, receive)
            await Answer(answer_struct({}), headers=_facts(info)).send(send)
            return
        standing = _Standing(scope, self._workers, viewer(of_file), scope["path_params"])
        await standing.require()
        asked = _read_headers(scope)
        await self._send(context, path, asked, receive, send, standing, with_body=scope["method"] == "GET")

    async def _admit_and_receive(self, scope: Scope, path: str, receive: Receive) -> ArtifactInfo:
        """Who is refused is told to the audit, as with operations."""
        context, act = admitted(scope), files.upload_act(path)
        standing = _Standing(scope, self._workers, act.need, act.request)
        try:
            await standing.require()
            return await self._receive(scope, path, _Body(receive, standing))
        except PermissionDenied as error:
            await self._workers.call(audit_failure, context, act, error)
            raise

    async def _receive(self, scope: Scope, path: str, body: "_Body") -> ArtifactInfo:
        try:
            return await self._store(scope, path, body)
        except LockgateError:
            await body.discard()
            raise

    async def _store(self, scope: Scope, path: str, body: "_Body") -> ArtifactInfo:
        headers = _read_headers(scope)
        length = headers.get("content-length", "")
        if "content-range" in headers:  # RFC 9110, 14.5: it would be taken for the whole file
            raise InvalidInput(f"a part of {path!r} cannot be stored by itself.", hint="send it without Content-Range")
        for condition in ("if-match", "if-none-match", "if-unmodified-since"):  # it would be stored all the same
            if condition in headers:
                raise InvalidInput(
                    f"{path!r} cannot be stored under a condition.", hint=f"send it without {condition.title()}"
                )

        def begin() -> CheckedUpload:
            return files.begin_upload(
                admitted(scope),
                path,
                size_bytes=int(length) if length.isdigit() else None,
                checksums=announced(headers),
                limit_bytes=self._limit_bytes,
            )

        piece, more = await body.piece()
        if not piece and scope["method"] == "POST":
            raise InvalidInput("Request must specify data.")  # in MLflow's words
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
        self,
        context: Context,
        path: str,
        asked: dict[str, str],
        receive: Receive,
        send: Send,
        standing: "_Standing",
        *,
        with_body: bool,
    ) -> None:
        for is_last in (False, True):
            found = await self._off(lambda: files.open_file(context, path))
            try:
                is_whole = await self._send_open(found, path, asked, receive, send, standing, with_body=with_body)
            except Replaced:
                if is_last:
                    raise
                continue
            finally:
                await self._off(found.content.close)
            if is_whole:  # last of all: who has it all finds it counted
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            return

    async def _send_open(
        self,
        found: OpenArtifact,
        path: str,
        asked: dict[str, str],
        receive: Receive,
        send: Send,
        standing: "_Standing",
        *,
        with_body: bool,
    ) -> bool:
        """Whether only the end is missing. Raises a LockgateError only as long as nothing is sent."""
        try:
            part = _wanted(asked, found) if with_body else None  # a range is for GET only (RFC 9110, 14.2)
        except OutsideOfFile as error:
            size = [(b"content-range", f"bytes */{found.info.size_bytes}".encode())]
            await Answer(error_body(error.code, error.message), error.http_status, size).send(send)
            return False
        wanted = part or range(found.info.size_bytes if with_body else 0)
        # A store that gives nothing is found out while there can be another status.
        if wanted.start:
            await self._off(partial(found.content.seek, wanted.start))
        first = await self._off(partial(found.content.read, min(len(wanted), _PIECE))) if wanted else b""
        headers = _headers(path, found, part)
        await send({"type": "http.response.start", "status": 206 if part else 200, "headers": headers})
        try:
            await self._send_bytes(found.content, first, len(wanted), receive, send, standing)
        except LockgateError as error:
            log.warning("the download of %r was cut off: %s", path, error.message)
            return False  # without the end, so that the connection ends
        return True

    async def _send_bytes(
        self, content: Readable, piece: bytes, left: int, receive: Receive, send: Send, standing: "_Standing"
    ) -> None:
        """`left` bytes, of which `piece` are the first."""
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            while piece and not gone.done():
                left -= len(piece)
                await standing.require_still()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await self._off(partial(content.read, min(left, _PIECE))) if left else b""
        finally:
            gone.cancel()

    async def _off(self, function: Callable[[], T]) -> T:
        """Files block: never on the event loop."""
        found: T = await self._workers.call(function)
        return found


class _Standing:
    """What somebody may do for as long as a transfer lasts, and not only when it begins."""

    def __init__(self, scope: Scope, workers: Workers, need: Need, request: object) -> None:
        self._scope = scope
        self._workers = workers
        self._need = need
        self._request = request
        self._context = admitted(scope)
        self._asked_at = self._context.clock.monotonic()

    async def require(self) -> None:
        """Raises PermissionDenied."""
        if self._context.caller.rights is not None:
            await self._workers.call(require_for, self._need, self._context, self._request)

    async def require_still(self) -> None:
        """Once a second at most: the same of the caller as they are by now. Raises Unauthenticated besides."""
        clock = self._context.clock
        if clock.monotonic() - self._asked_at > FRESH_S:
            self._context = await self._scope["app"].admit(self._scope)
            await self.require()
            self._asked_at = clock.monotonic()


def _read_headers(scope: Scope) -> dict[str, str]:
    """By name in small letters. Raises InvalidInput where it is open which of two is meant."""
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    for name in _ONCE:
        if len(found.get(name, ())) > 1:
            raise InvalidInput(f"the header {name} was sent more than once.", hint="send it once")
    return {name: ", ".join(values) for name, values in found.items()}


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

    def __init__(self, receive: Receive, standing: _Standing) -> None:
        self._receive = receive
        self._standing = standing
        self._is_over = False

    async def piece(self) -> tuple[bytes, bool]:
        """The next one, and whether more come. Raises InvalidInput where the client goes away before the end."""
        parts: list[bytes] = []
        size = 0
        while size < _PIECE and not self._is_over:
            parts.append(await self._part())
            size += len(parts[-1])
        await self._standing.require_still()
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
