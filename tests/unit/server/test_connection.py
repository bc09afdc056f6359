"""What uvicorn's connection does for us is tried where we rely on it, with bytes that no client library would send."""

import asyncio
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from itertools import pairwise

import pytest
import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from lockgate.server.answer import Answer
from lockgate.server.connection import MAX_HEAD_BYTES, MAX_HELD_BYTES, Answerer, ApiConnection
from lockgate.server.run import RunningServer, serve_in_thread

LIMIT_S = 20
WAYS = ("at once", "later", "given up")
HEAD = b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LAST = b"GET /end HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def echo(scope, receive, send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = b"%s %s %s" % (scope["method"].encode(), scope["path"].encode(), body)
    length = str(len(answer)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": answer, "more_body": False})


class Brief:
    """`echo`, which is asked for the answer to POST /x beforehand: it has it, will have it, or gives up.

    In "any" way that depends on the body.
    """

    def __init__(self, way: str) -> None:
        self.way = way
        self.later_s = 0.05
        self.held: list[bytes] = []  # bodies that were asked for beforehand
        self.heads = 0  # that were read of such
        self.called: list[str] = []
        self.beforehand = {(b"POST", b"/x"): self.answerer}

    def answerer(self, headers, client) -> Answerer:
        assert (b"host", b"127.0.0.1") in headers
        assert client[0] == "127.0.0.1"
        self.heads += 1
        return self.answer

    def answer(self, body: bytes) -> Answer | asyncio.Future | None:
        self.held.append(body)
        way = WAYS[sum(body) % len(WAYS)] if self.way == "any" else self.way
        if way == "given up":
            return None
        answer = Answer(b"POST /x " + body)
        if way == "at once":
            return answer
        later = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(self.later_s, later.set_result, answer)
        return later

    async def __call__(self, scope, receive, send) -> None:
        assert [name for name, _ in scope["headers"]].count(b"host") == 1
        self.called.append(scope["path"])
        await echo(scope, receive, send)


@pytest.fixture(params=["called", *WAYS])
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serve_in_thread(echo if request.param == "called" else Brief(request.param)) as running:
        yield running


@pytest.fixture
def brief() -> Brief:
    return Brief("at once")


@pytest.fixture
def brief_server(brief: Brief) -> Iterator[RunningServer]:
    with serve_in_thread(brief) as running:
        yield running


def talk(server: RunningServer, *parts: bytes) -> bytes:
    """All that is answered to `parts`, each sent by itself, until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(0.02)
        except OSError:
            pass  # refused before it was complete, which the answer tells
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass  # what we sent after the answer was thrown away
    return found


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ((HEAD + b"Content-Length: 2\r\n\r\nab",), b"POST /x ab"),
        ((HEAD + b"Content-Length: 2\r\n\r\n", b"a", b"b"), b"POST /x ab"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n"), b"POST /x ab"),
        ((HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", b"ab"), b"POST /x ab"),
        ((b"GET /a%20b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",), b"GET /a b "),
    ],
)
def test_request_is_understood_however_it_is_sent(server, parts: tuple[bytes, ...], answer: bytes) -> None:
    found = talk(server, *parts, LAST)
    assert answer in found
    assert found.endswith(b"GET /end ")


@pytest.mark.parametrize(
    "parts",
    [
        (b"Content-Length: 2\r\n\r\nab",),
        (b"Content-Length: 2\r\n\r\n", b"ab"),
        (b"Content-Length: 2\r\n\r\na", b"b", LAST),
        (b"Content-Length: 2\r\n\r\nab" + HEAD + b"Content-Length: 2\r\n\r\ncd",),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_offer_of_another_protocol_is_declined_and_the_body_is_a_body(server, protocol: bytes, parts) -> None:
    found = talk(server, HEAD + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n" + parts[0], *parts[1:])
    assert found.endswith(b"connection: close\r\n\r\nPOST /x ab")


def test_offer_with_a_request_that_has_no_body_is_declined(server) -> None:
    found = talk(server, b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert found.endswith(b"GET /x ")


def test_requests_sent_at_once_are_answered_in_their_order(server) -> None:
    found = talk(server, b"".join(b"GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % n for n in range(3)) + LAST)
    assert re.findall(rb"GET /(\w+)", found) == [b"0", b"1", b"2", b"end"]


def test_thousands_sent_at_once_are_all_answered_in_their_order(server) -> None:
    asked = (b"GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % n for n in range(3000))
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
        sending = threading.Thread(target=connection.sendall, args=(b"".join(asked) + LAST,))
        sending.start()
        found = read_all(connection)
        sending.join()
    assert re.findall(rb"GET /(\w+)", found) == [*(b"%d" % n for n in range(3000)), b"end"]


def test_answer_is_dated(server) -> None:
    date = re.search(rb"\r\ndate: (.+? GMT)\r\n", talk(server, LAST))
    assert date is not None
    assert abs(parsedate_to_datetime(date[1].decode()).timestamp() - time.time()) < LIMIT_S


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        # A proxy might see another end of the body than we do.
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_like_every_mistake(server, sent: bytes) -> None:
    found = talk(server, sent)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b'{"error_code":"INVALID_PARAMETER_VALUE"' in found


@pytest.mark.parametrize(
    "begin", [b"GET /", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""]
)
def test_headers_without_end_are_refused(server, begin: bytes) -> None:
    line = b"X: a\r\n" if begin.endswith(b"\r\n") else b"\r\n" * 3 if not begin else b"aaaaaa"
    found = talk(server, begin, *[line * 3000] * (MAX_HEAD_BYTES // 18_000 + 2))
    assert b"more than 64 KiB" in found
    assert b" 200 " not in found


def test_large_body_after_small_headers_is_no_large_head(server) -> None:
    body = b"b" * (3 * MAX_HEAD_BYTES)
    found = talk(server, HEAD + b"Content-Length: %d\r\n\r\n" % len(body), body, LAST)
    assert body in found
    assert found.endswith(b"GET /end ")


@pytest.mark.parametrize("pieces", [1, 4])
def test_lines_without_end_behind_a_body_are_refused(server, pieces: int) -> None:
    body = b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    found = talk(server, HEAD + body, *[b"X: aaaaaaaaaaaa\r\n" * (9000 // pieces)] * pieces)
    assert b"more than 64 KiB" in found
    assert b" 200 " not in found


def test_beginning_of_the_next_request_behind_a_large_body_is_no_large_head(server) -> None:
    body = b"b" * (3 * MAX_HEAD_BYTES)
    found = talk(server, HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body + LAST[:20], LAST[20:])
    assert body in found
    assert found.endswith(b"GET /end ")


def test_client_that_does_not_come_to_the_end_of_its_headers_is_left(tmp_path) -> None:
    async def main() -> list[bytes]:
        config = Config(echo, ws="none", lifespan="off", log_config=None, interface="asgi3")
        config.load()
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: ApiConnection(config, state, head_limit_s=0.3), "127.0.0.1", 0
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            answers = []
            for sent in (b"", b"GET / HTT", LAST + b"GET / HTT", HEAD + b"Content-Length: 2\r\n\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                if sent.startswith(HEAD):
                    await asyncio.sleep(0.6)  # its headers are complete: it may take its time
                    writer.write(b"ab" + LAST)
                answers.append(await asyncio.wait_for(reader.read(), LIMIT_S))
                writer.close()
        return answers

    nothing, begun, second, slow = asyncio.run(main())
    assert (nothing, begun) == (b"", b"")
    assert second.endswith(b"GET /end ")
    assert b"POST /x ab" in slow


def test_no_more_is_read_while_requests_wait_that_have_come_already() -> None:
    async def main() -> int:
        connections: list[ApiConnection] = []
        waiting: list[int] = []
        is_enough = asyncio.Event()

        async def counting(scope, receive, send) -> None:
            waiting.append(len(connections[0].pipeline))
            if len(waiting) == 50:
                is_enough.set()
            await echo(scope, receive, send)

        config = Config(counting, ws="none", lifespan="off", log_config=None, interface="asgi3")
        config.load()
        state = ServerState()

        def connect() -> ApiConnection:
            connections.append(ApiConnection(config, state))
            return connections[-1]

        async with await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            writer.write(b"POST /x HTTP/1.1\r\nContent-Length: 1\r\n\r\na" * 100_000)
            await asyncio.wait_for(is_enough.wait(), LIMIT_S)
            writer.transport.abort()
        return max(waiting)

    assert 1 < uvloop.run(main()) < 1000  # what is read at once


@pytest.mark.parametrize("size", [1, 300_000])
def test_much_is_read_at_once_of_a_body_and_little_behind_it(size: int) -> None:
    head = HEAD.replace(b"/x", b"/y") + b"Content-Length: %d\r\n\r\n" % size

    async def main() -> list[int]:
        connection, _ = connect(Brief("at once"))
        found = [connection.readable_bytes]
        for piece in (head, b"a" * (size // 2), b"a" * (size - size // 2), b"GET /y HTTP/1.1\r\n\r\n"):
            connection.data_received(piece)
            found.append(connection.readable_bytes)
        return found

    little = 16_384
    assert asyncio.run(main()) == [little, *((262_144, 150_000) if size > 1 else (little, little)), little, little]


# -- answers at once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD + b"Content-Length: 2\r\n\r\nab",),
        (HEAD[:30], HEAD[30:] + b"Content-Length: 2\r\n\r\na", b"b"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n"),
    ],
)
def test_whole_request_is_answered_without_a_call(brief_server, brief: Brief, parts: tuple[bytes, ...]) -> None:
    found = talk(brief_server, *parts, *parts, LAST)
    head = rb"HTTP/1.1 200 OK\r\ndate: [^\r]+ GMT\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n"
    assert re.match(rb"(%bPOST /x ab){2}HTTP/1.1 200 OK" % head, found), found
    assert (brief.held, brief.called) == ([b"ab", b"ab"], ["/end"])


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", b"ab", LAST),
        (HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nab",),
        (HEAD.replace(b"/1.1", b"/1.0") + b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nab",),
        (HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab",),
        (HEAD.replace(b"/x", b"/x?a=b") + b"Content-Length: 2\r\n\r\nab", LAST),
        (HEAD.replace(b"POST", b"PUT") + b"Content-Length: 2\r\n\r\nab", LAST),
    ],
)
def test_request_that_is_more_than_plain_is_a_call(brief_server, brief: Brief, parts: tuple[bytes, ...]) -> None:
    assert b" /x ab" in talk(brief_server, *parts)
    assert (brief.held, brief.called[0]) == ([], "/x")


@pytest.mark.parametrize("size", [MAX_HELD_BYTES, MAX_HELD_BYTES + 1])
@pytest.mark.parametrize("pieces", [1, 3])
def test_large_body_is_for_a_call_that_gets_all_of_it(brief_server, brief: Brief, size: int, pieces: int) -> None:
    body = bytes(65 + at % 26 for at in range(size))
    sent = HEAD + b"Content-Length: %d\r\n\r\n" % size + body
    step = len(sent) // pieces + 1
    found = talk(brief_server, *(sent[at : at + step] for at in range(0, len(sent), step)), LAST)
    assert b"POST /x " + body in found
    assert brief.called == (["/end"] if size == MAX_HELD_BYTES else ["/x", "/end"])


def test_a_client_that_sends_many_at_once_gets_one_answer_between_those_of_others(brief_server, brief: Brief) -> None:
    found = talk(brief_server, b"".join(HEAD + b"Content-Length: 1\r\n\r\n%d" % n for n in range(9)) + LAST)
    assert re.findall(rb"POST /x (.)", found) == [b"%d" % n for n in range(9)]
    assert brief.held == [b"0"]


def test_request_behind_one_that_is_not_answered_yet_waits_for_its_turn(brief: Brief) -> None:
    brief.way = "later"
    with serve_in_thread(brief) as server:
        asked = HEAD + b"Content-Length: 1\r\n\r\n"
        assert re.findall(rb"POST /x (.)", talk(server, asked + b"0", asked + b"1", LAST)) == [b"0", b"1"]


@pytest.mark.parametrize("before", [0, 2])
def test_answer_that_is_still_to_come_when_the_server_is_stopped_is_waited_for(brief: Brief, before: int) -> None:
    brief.way, brief.later_s = "later", 0.0
    soon_s = 5  # before the server cuts connections that are left
    with serve_in_thread(brief) as server, socket.create_connection(("127.0.0.1", server.port), soon_s) as connection:
        for _ in range(before):
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nab")
            assert connection.recv(4096).endswith(b"POST /x ab")
        brief.later_s = 0.5
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nab")
        while len(brief.held) <= before:
            time.sleep(0.01)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert read_all(connection).endswith(b"connection: close\r\n\r\nPOST /x ab")
        stopping.join()


@pytest.mark.parametrize("cuts", [(), (-2,), (-1,), (-2, -1)])
def test_head_that_is_repeated_is_read_once_and_the_bodies_are_each_their_own(brief: Brief, cuts: tuple) -> None:
    sent = (HEAD + b"Content-Length: 2\r\n\r\n%02d" % number for number in range(9))
    pieces = [one[start:end] for one in sent for start, end in pairwise((0, *cuts, None))]
    assert re.findall(rb"POST /x (..)", received(brief, *pieces)) == brief.held == [b"%02d" % n for n in range(9)]
    assert brief.heads == 1


@pytest.mark.parametrize("way", [*WAYS, "any"])
@pytest.mark.parametrize("seed", range(8))
def test_requests_are_understood_in_whatever_pieces_they_come(brief: Brief, way: str, seed: int) -> None:
    """Also where a head is known already, and what begins like it goes on differently."""
    rng = random.Random(seed)
    brief.way, brief.later_s = way, 0.0
    sent, answers = [], []
    for number in range(60):
        body = b"%02d" % number
        kind = rng.choice(["same"] * 6 + ["longer", "chunked", "none", "called"])
        if kind == "longer":
            body += b"\r\n\r\n" + HEAD
        framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        if kind == "chunked":
            framed = b"Transfer-Encoding: chunked\r\n\r\n2\r\n%b\r\n0\r\n\r\n" % body
        elif kind == "none":
            framed, body = b"\r\n", b""
        path = b"/y" if kind == "called" else b"/x"
        sent.append(HEAD.replace(b"/x", path) + framed + rng.choice([b""] * 6 + [b"\r\n"]))
        answers.append(b"POST %b %b" % (path, body))

    async def main() -> None:
        connection, wire = connect(brief)
        pieces = sent if seed % 2 else cut(b"".join(sent), rng)
        for piece in pieces:
            await wire.may_send.wait()
            connection.data_received(piece)
            for _ in range(rng.choice([0, 20, 20])):  # answered in between, or not
                await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT_S):
            while wire.received.count(b"HTTP/1.1 200") < len(sent):
                await asyncio.sleep(0)
        connection.connection_lost(None)
        found = re.findall(rb"content-length: \d+\r\n\r\n(POST .*?)(?=HTTP/1.1 200|\Z)", wire.received, re.DOTALL)
        assert found == answers

    asyncio.run(main())
    asked = [body for body in brief.held if body]
    assert len(asked) == len(set(asked))  # each once
    assert not seed % 2 or brief.heads < len(brief.held)


def test_values_of_several_lengths_are_several_heads_and_each_is_read_once(brief: Brief) -> None:
    bodies = [b"1" * size for size in (9, 10, 11, 9, 11, 10, 9)]
    assert received(brief, *(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies))
    assert (brief.heads, brief.held) == (3, bodies)


def test_heads_are_not_remembered_without_end(brief: Brief) -> None:
    large = HEAD + b"X: " + b"x" * 3000 + b"\r\n\r\n"
    assert received(brief, large, large)
    assert brief.heads == 2
    many = [HEAD + b"X: %d\r\n\r\n" % number for number in range(100)]
    assert received(brief, *many, *many)
    assert brief.heads == 202


def test_body_that_looks_like_a_known_request_is_a_body(brief: Brief) -> None:
    whole = HEAD + b"Content-Length: 2\r\n\r\nab"
    assert received(brief, whole, HEAD + b"Content-Length: %d\r\n\r\n" % len(whole), whole)
    assert brief.held == [b"ab", whole]


def test_head_of_a_body_in_chunks_does_not_tell_how_long_the_next_one_is(brief: Brief) -> None:
    whole = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    end = whole.index(b"2\r")
    assert received(brief, whole, whole[: end + 2], whole[end + 2 :])
    assert brief.held == [b"ab", b"ab"]


@pytest.mark.parametrize("whole", [HEAD.replace(b"\r\n", b"\n") + b"\n", HEAD + b"\n", HEAD[:-2] + b"\r\r\n\r\n"])
def test_head_ends_with_an_empty_line_and_nothing_like_it(brief: Brief, whole: bytes) -> None:
    assert b"HTTP/1.1 400 " in received(brief, whole)
    assert brief.held == []


def received(brief: Brief, *pieces: bytes) -> bytes:
    """What is answered before the loop does anything else."""

    async def main() -> bytes:
        connection, wire = connect(brief)
        for piece in pieces:
            connection.data_received(piece)
        return wire.received

    return asyncio.run(main())


def test_rest_of_a_head_is_no_request_though_it_was_one_with_its_beginning(brief: Brief) -> None:
    whole = HEAD + b"Content-Length: 2\r\n\r\nab"
    assert b"HTTP/1.1 400 " in received(brief, whole[:2], whole[2:], whole[2:])
    assert brief.held == [b"ab"]


def test_client_that_does_not_read_its_answers_is_given_none_beforehand(brief: Brief) -> None:
    async def main() -> None:
        connection, wire = connect(brief)
        asked = HEAD + b"Content-Length: 2\r\n\r\nab"
        connection.data_received(asked)
        connection.pause_writing()  # as the transport does when too much waits in it
        connection.data_received(asked)
        assert brief.held == [b"ab"]
        connection.resume_writing()
        async with asyncio.timeout(LIMIT_S):
            while wire.received.count(b"POST /x ab") < 2:
                await asyncio.sleep(0)

    asyncio.run(main())
    assert brief.called == ["/x"]


def connect(brief: Brief) -> "tuple[ApiConnection, Wire]":
    """A connection and its other end, in the loop that is running."""
    config = Config(brief, ws="none", lifespan="off", log_config=None, interface="asgi3")
    config.load()
    connection, wire = ApiConnection(config, ServerState(), brief=brief), Wire()
    connection.connection_made(wire)
    return connection, wire


class Wire(asyncio.Transport):
    """The other end of a connection, in memory."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.received = b""
        self.may_send = asyncio.Event()
        self.may_send.set()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.received += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.may_send.clear()

    def resume_reading(self) -> None:
        self.may_send.set()


def cut(data: bytes, rng: random.Random) -> Iterator[bytes]:
    while data:
        at = rng.choice([1, 5, 40, 70, 200])
        yield data[:at]
        data = data[at:]


def test_client_that_does_not_wait_for_its_answer_is_nobodys_trouble(brief: Brief) -> None:
    brief.way = "later"
    with serve_in_thread(brief) as server:
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as connection:
                connection.sendall((HEAD + b"Content-Length: 2\r\n\r\nab") * 2)
        assert b"POST /x ab" in talk(server, HEAD + b"Content-Length: 2\r\n\r\nab", LAST)


@pytest.mark.parametrize("before", [0, 2])
def test_request_that_is_half_here_when_the_server_is_stopped_is_answered(brief: Brief, before: int) -> None:
    with serve_in_thread(brief) as server, socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as connection:
        for _ in range(before):
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nab")
            assert connection.recv(4096).endswith(b"POST /x ab")
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\na")
        time.sleep(0.1)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(0.1)
        connection.sendall(b"b")
        assert read_all(connection).endswith(b"connection: close\r\n\r\nPOST /x ab")
        stopping.join()


# -- what is no request behind one ------------------------------------------------------------------------------------

STRAY = (b"line\nline\n", b"X: " + b"a" * (MAX_HEAD_BYTES + 10), b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 12_000)


@pytest.mark.parametrize("stray", STRAY)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_request_is_answered_before_what_comes_behind_it_is_refused(stray: bytes, parts: int, count: int) -> None:
    async def slowly(scope, receive, send) -> None:
        await asyncio.sleep(0.2)
        await echo(scope, receive, send)

    with serve_in_thread(slowly) as server:
        asked = (HEAD + b"Content-Length: 2\r\n\r\nab") * count
        found = talk(server, *((asked + stray,) if parts == 1 else (asked, stray)), stray)
    answers = re.findall(rb"HTTP/1.1 (\d+)", found)
    assert answers == [b"200"] * count + [b"400"]
    assert found.count(b"POST /x ab") == count


def test_broken_body_is_refused_when_those_before_it_are_answered(server) -> None:
    broken = HEAD + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n"
    assert re.findall(rb"HTTP/1.1 (\d+)", talk(server, broken)) == [b"400"]
    found = talk(server, HEAD.replace(b"/x", b"/y") + b"Content-Length: 2\r\n\r\nab" + broken)
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200", b"400"]


def test_broken_body_of_what_is_being_answered_ends_the_answer() -> None:
    async def early(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        while (await receive())["type"] != "http.disconnect":
            pass

    with serve_in_thread(early) as server:
        found = talk(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"no size\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200"]
