"""One HTTP connection of the API: uvicorn's, with what uvicorn leaves to its own server or to nobody.

uvicorn bounds what is waiting of a body. What comes before the body is bounded here, in size and in time, so that a
client that never ends its headers takes neither memory nor a connection for ever.

A client may offer another protocol with any request (Java's does with its first of each connection: HTTP/2). httptools
then takes what follows for that protocol. We accept no offer, so for us it is the body.
"""

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from lockgate.errors import InvalidInput
from lockgate.server.answer import ErrorBody, answer_struct

MAX_HEAD_BYTES = 64 << 10  # or what arrived at once
_HEAD_LIMIT_S = 30.0


class ApiConnection(HttpToolsProtocol):
    """Requests and answers of one client, one after the other."""

    def __init__(self, config: Config, state: ServerState, *, head_limit_s: float = _HEAD_LIMIT_S) -> None:
        super().__init__(config, state, {})
        self._head_limit_s = head_limit_s
        self._is_in_head = True  # of its first request
        self._head_bytes = 0
        self._head_limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn's annotation is narrower than asyncio's
        self._bound_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_head()

    def data_received(self, data: bytes) -> None:
        """What has come, whole or in pieces."""
        was_in_head = self._is_in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("what was sent is no request of HTTP/1.1.")
        if self._is_in_head:
            self._head_bytes += len(data) if was_in_head else 0  # or most of it may belong to the request before
            self._bound_head()
        elif self._head_limit is not None:
            self._end_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self.server_state.default_headers = _dated(int(time.time()))
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():  # or it is only the head that is complete
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what was sent meanwhile, or wait: as long as the client likes, for to close what it may just be
        sending on helps nobody. uvicorn would set and cancel a timer for every request, a twentieth of a logged metric.
        """
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused as every other mistake is."""
        body = answer_struct(ErrorBody(InvalidInput.code, msg))
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _decline(self, rest: bytes) -> None:
        self.cycle.keep_alive = False  # the next request comes with a parser that was offered nothing
        framing = [line for line in self.headers if line[0] in (b"content-length", b"transfer-encoding")]
        head = b"".join(b"%b: %b\r\n" % line for line in framing)
        self.parser = httptools.HttpRequestParser(_OneBody(self))
        self.data_received(b"POST / HTTP/1.1\r\n%b\r\n%b" % (head, rest))

    def _bound_head(self) -> None:
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response(f"the headers of this request have more than {MAX_HEAD_BYTES >> 10} KiB.")
        elif self._head_limit is None:
            self._head_limit = self.loop.call_later(self._head_limit_s, self.transport.close)

    def _end_head(self) -> None:
        if self._head_limit is not None:
            self._head_limit.cancel()
            self._head_limit = None


class _OneBody:
    """Hears of the first body and of nothing else."""

    def __init__(self, connection: ApiConnection) -> None:
        self._connection: ApiConnection | None = connection

    def on_body(self, body: bytes) -> None:
        if self._connection is not None:
            self._connection.on_body(body)

    def on_message_complete(self) -> None:
        if self._connection is not None:
            self._connection.on_message_complete()
        self._connection = None


@lru_cache(1)
def _dated(now_s: int) -> list[tuple[bytes, bytes]]:
    """What every answer begins with."""
    return [(b"date", formatdate(now_s, usegmt=True).encode())]
