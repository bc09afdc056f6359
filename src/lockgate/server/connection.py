"""One HTTP connection of the API: uvicorn's, with what uvicorn leaves to its own server or to nobody.

uvicorn bounds what is waiting of a body. What comes before the body is bounded here, in size and in time, so that a
client that never ends its headers takes neither memory nor a connection for ever. Requests that come before they can be
answered stay where they are, in the system and at the client: little is read at once, and nothing more while one waits.

A client may offer another protocol with any request (Java's does with its first of each connection: HTTP/2). httptools
then takes what follows for that protocol. We accept no offer, so for us it is the body.

Small requests of the kind that comes a thousand times a second are held until they are whole. Where the application has
the answer beforehand, or promises it, it leaves with its head in one packet; the others go their way as an ASGI task.
A client that sends many of them repeats a few heads byte by byte, so what was read of them is known the next time.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache, partial
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from lockgate.errors import InvalidInput
from lockgate.server.answer import Answer, error_body

MAX_HEAD_BYTES = 64 << 10
# A body of this size has some hundred metrics, which take a millisecond.
MAX_HELD_BYTES = 8 << 10
_HEAD_LIMIT_S = 30.0
# Read at once: some hundred requests without a body, each a kilobyte of memory, or the body of one, as uvloop would.
_READ_BYTES = 16 << 10
_READ_BODY_BYTES = 256 << 10
# Values of a metric have some ten lengths.
_MAX_KNOWN_HEADS = 16
_MAX_KNOWN_BYTES = 2 << 10
_END_OF_HEAD = b"\r\n\r\n"

# Takes the body of a request. Gives its answer, or the future of one, or None to be called.
Answerer: TypeAlias = Callable[[bytes], Answer | asyncio.Future[Answer] | None]
# Takes headers and address of a request. Gives what answers it, and all later ones of its connection with the same
# headers: whether they may be answered is for it to find out each time.
Beforehand: TypeAlias = Callable[[Sequence[tuple[bytes, bytes]], tuple[str, int] | None], Answerer]


@runtime_checkable
class Brief(Protocol):
    """An ASGI application that can answer some requests without being called."""

    beforehand: Mapping[tuple[bytes, bytes], Beforehand]  # by method and path


class _Known(NamedTuple):
    """What is known of a head."""

    answerer: Answerer
    body_bytes: int


class ApiConnection(HttpToolsProtocol):
    """Requests and answers of one client, one after the other."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        *,
        brief: Brief | None = None,
        head_limit_s: float = _HEAD_LIMIT_S,
    ) -> None:
        super().__init__(config, state, {})
        self._beforehand = {} if brief is None else brief.beforehand
        self._answerer: Answerer | None = None  # of the request that is held
        self._later: asyncio.Future[Answer] | None = None  # what it answered, where that is yet to come
        self._held = bytearray()  # its body so far
        self._sent = b""  # of it, as it came
        self._body_left = 0  # of the request that the application was called for, where it said how long its body is
        self._known: dict[bytes, _Known] = {}
        self._unread = b""  # a known head, and what has come of its body
        self._is_between_requests = True
        self._has_answered = False  # of what came together; a client must not keep the others waiting with a thousand
        self._head_limit_s = head_limit_s
        self._is_in_head = True  # of its first request
        self._head_bytes = 0  # and of lines behind a body: what has come since a head, a body or a piece of one ended
        self._head_limit: asyncio.TimerHandle | None = None
        self._refusal = ""  # of what came behind a request that is still being answered; nothing is read after it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn's annotation is narrower than asyncio's
        transport.set_protocol(_InPieces(self))
        self.flow = _Flow(self.transport, self.pipeline)
        self._bound_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_head()

    @property
    def readable_bytes(self) -> int:
        """What may be read at once: no more than the rest of a body, or little."""
        return max(min(self._body_left, _READ_BODY_BYTES), _READ_BYTES)

    def data_received(self, data: bytes) -> None:
        """What has come, whole or in pieces."""
        if self._refusal:
            return
        self._has_answered = False
        if self._unread:
            data, self._unread = self._unread + data, b""
        if not (self._is_between_requests and self._may_answer and self._take_known(data)):
            self._read(data)

    def _take_known(self, data: bytes) -> bool:
        """Answer a request with a known head, or wait for its rest. Whether the parser need not read it."""
        end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        known = self._known.get(data[:end])
        if known is None or len(data) > end + known.body_bytes:
            return False
        if len(data) < end + known.body_bytes:
            self._unread = data
            return True
        answer = known.answerer(data[end:])
        if isinstance(answer, Answer):
            self._write(answer, keep_alive=True)
            return True
        self._later, self._has_answered = answer, True  # what is read now is not to be asked for again
        return False

    def _read(self, data: bytes) -> None:
        if self._is_between_requests:
            self._sent = data
        elif self._answerer is not None:
            self._sent += data
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._refuse("what was sent is no request of HTTP/1.1.")
        if self._answerer is None:
            self._sent = b""
        if self._is_in_head or self._head_bytes > MAX_HEAD_BYTES:
            self._bound_head()
        elif self._head_limit is not None:
            self._end_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._is_between_requests = True, False

    def on_headers_complete(self) -> None:
        self._is_in_head, self._head_bytes = False, 0
        self._answerer = self._find_answerer()
        if self._answerer is None:
            self._begin()

    def on_body(self, body: bytes) -> None:
        """A piece, kept with its request where that is held."""
        self._head_bytes = 0
        if self._answerer is not None:
            self._held += body
            if len(self._held) > MAX_HELD_BYTES:
                self._let_go()
        else:
            self._body_left -= len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """All of one is here: answer it, where that can be done beforehand."""
        self._head_bytes, self._is_between_requests = 0, True
        if self._answerer is not None:
            self._remember(self._answerer)
            answer = self._answerer(bytes(self._held))
            if isinstance(answer, Answer):
                self._send(answer)
                return
            self._later = answer
            self._let_go()
        if not self.parser.should_upgrade():  # or it is only the head that is complete
            super().on_message_complete()

    def shutdown(self) -> None:
        """End as soon as what is being asked is answered."""
        unread, self._unread = self._unread, b""
        if unread:
            self._read(unread)
        if self._answerer is not None:
            self._let_go()
        super().shutdown()

    def on_response_complete(self) -> None:
        """Go on with what was sent meanwhile, or wait: as long as the client likes, for to close what it may just be
        sending on helps nobody. uvicorn would set and cancel a timer for every request, a twentieth of a logged metric.
        """
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            elif self._refusal:
                self.send_400_response(self._refusal)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused as every other mistake is."""
        body = error_body(InvalidInput.code, msg)
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        # What has come is still read and thrown away, or the system would reset the client before it reads the answer.
        self._refusal = msg
        self.loop.call_soon(self.transport.close)

    def _find_answerer(self) -> Answerer | None:
        """For a request that is to be held: an ordinary one, before which nothing is still to be answered."""
        found = self._beforehand.get((self.parser.get_method(), self.url))
        if found is None:
            return None
        is_plain = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        is_offer = self.expect_100_continue or self.parser.should_upgrade()
        return found(self.headers, self.client) if is_plain and not is_offer and self._may_answer else None

    @property
    def _may_answer(self) -> bool:
        """Whether it is the turn of the next request, and the client reads what it is answered."""
        is_first = not self._has_answered and (self.cycle is None or self.cycle.response_complete)
        return is_first and not self.flow.write_paused

    def _remember(self, answerer: Answerer) -> None:
        """Know the head of the request that is held, where no more was sent than that and its body.

        The parser takes nothing else for the end of a head, of which there is one for each request.
        """
        end = self._sent.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if end + len(self._held) == len(self._sent) and end <= _MAX_KNOWN_BYTES:
            if len(self._known) == _MAX_KNOWN_HEADS:
                self._known.clear()
            self._known[self._sent[:end]] = _Known(answerer, len(self._held))

    def _send(self, answer: Answer) -> None:
        self._write(answer, keep_alive=True)
        self._answerer, self._held, self._has_answered = None, bytearray(), True

    def _write(self, answer: Answer, *, keep_alive: bool) -> None:
        lines = [b"%b: %b\r\n" % header for header in (*_dated(int(time.time())), *answer.all_headers())]
        end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[answer.status], *lines, end, answer.body)))
        if not keep_alive:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Where the answer is already being made, only wait for it."""
        later, self._later = self._later, None
        if later is None:
            super()._start_asgi_task(cycle, app)
        else:
            later.add_done_callback(partial(self._end_cycle, cycle))

    def _end_cycle(self, cycle: RequestResponseCycle, later: asyncio.Future[Answer]) -> None:
        self._write(later.result(), keep_alive=cycle.keep_alive)
        cycle.response_complete = True
        self.on_response_complete()

    def _begin(self) -> None:
        self.server_state.default_headers = _dated(int(time.time()))
        self._body_left = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        super().on_headers_complete()

    def _let_go(self) -> None:
        """Have the application called as with any other request."""
        held, self._answerer, self._held = self._held, None, bytearray()
        self._begin()
        self._body_left -= len(held)
        super().on_body(bytes(held))

    def _decline(self, rest: bytes) -> None:
        self.cycle.keep_alive = False  # the next request comes with a parser that was offered nothing
        framing = [line for line in self.headers if line[0] in (b"content-length", b"transfer-encoding")]
        head = b"".join(b"%b: %b\r\n" % line for line in framing)
        self.parser = httptools.HttpRequestParser(_OneBody(self))
        self.data_received(b"POST / HTTP/1.1\r\n%b\r\n%b" % (head, rest))

    def _refuse(self, message: str) -> None:
        """Read no further. What came whole before is answered first, or its client would take this for the answer."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self.send_400_response(message)
            return
        if cycle.more_body:  # then it is its own body that is wrong
            if self.pipeline:
                self.pipeline.popleft()  # which nobody has begun to answer
            else:
                if not cycle.response_started:
                    self.send_400_response(message)
                self.transport.close()
                return
        self._refusal = message
        self._end_head()
        self.flow.pause_reading()

    def _bound_head(self) -> None:
        if self._refusal:
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(f"the headers of this request have more than {MAX_HEAD_BYTES >> 10} KiB.")
        elif self._head_limit is None:
            self._head_limit = self.loop.call_later(self._head_limit_s, self.transport.close)

    def _end_head(self) -> None:
        if self._head_limit is not None:
            self._head_limit.cancel()
            self._head_limit = None


class _InPieces(asyncio.BufferedProtocol):
    """Reads for a connection, as much at once as that likes."""

    def __init__(self, connection: ApiConnection) -> None:
        self._connection = connection
        self._buffer = _local.buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[: self._connection.readable_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(bytes(self._buffer[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


class _Local(threading.local):
    """What all connections of a loop have in common: it reads for one, tells it, and only then reads for another."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_READ_BODY_BYTES))


_local = _Local()


class _Flow(FlowControl):
    """Reads nothing more while requests wait that have come already: uvicorn would after each answer."""

    def __init__(self, transport: asyncio.Transport, pipeline: Collection[object]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if not self._pipeline:
            super().resume_reading()


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
