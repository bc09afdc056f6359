import http.server
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from lockgate.client.http import HttpTransport, _Beginning
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.errors import (
    Conflict,
    InvalidInput,
    LockgateError,
    NotFound,
    PayloadTooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from lockgate.hashing import digest_bytes
from lockgate.wire.events import LIST_EVENTS, EventList, ListEvents
from lockgate.wire.mlflow.artifacts import DIGEST_HEADER
from lockgate.wire.registry import SET_ALIAS, SetAlias


@contextmanager
def answering(
    *answers: tuple[int, bytes] | None, headers: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in order (None: closes the connection) and notes what it was asked."""
    asked: list[str] = []
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(f"{self.command} {self.path} {self.headers.get('X-Lockgate-User')}")
            if login := self.headers.get("Authorization"):
                asked.append(login)
            answer = left.pop(0)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            for header in headers.items():
                self.send_header(*header)
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        do_POST = do_PUT = do_GET  # noqa: N815  # the names that the library calls

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/base/", asked
        server.shutdown()
        thread.join()


def test_request_carries_its_query_and_who_asks() -> None:
    with answering((200, b'{"events": [], "later": 1}')) as (uri, asked):
        transport = HttpTransport(uri, user="Jürgen")
        assert transport.call(LIST_EVENTS, ListEvents(after=3)) == EventList()
        transport.close()
    assert asked == ["GET /base/api/lockgate/1/events/list-events?after=3 J%C3%BCrgen"]


def test_token_is_sent_as_a_bearer() -> None:
    with answering((200, b"{}")) as (uri, asked):
        transport = HttpTransport(uri, user="ann", token="secret")
        transport.call(LIST_EVENTS, ListEvents())
        transport.close()
    assert asked[1:] == ["Bearer secret"]


def test_password_is_sent_as_basic_credentials() -> None:
    with answering((200, b"{}")) as (uri, asked):
        transport = HttpTransport(uri, user="ann", password="pässword")
        transport.call(LIST_EVENTS, ListEvents())
        transport.close()
    assert asked[1:] == ["Basic YW5uOnDDpHNzd29yZA=="]


def test_login_in_the_address_is_used_and_shown_nowhere() -> None:
    with answering((200, b"{}"), (502, b"<html>")) as (uri, asked):
        settings = Settings(uri=uri.replace("//", "//ann:s3cr%40t@"), token="env:TOKEN")
        with connect(settings, state=Path(), user="bob", clock=SystemClock(), environ={"TOKEN": "other"}) as client:
            client.events.list_events()
            with pytest.raises(Unavailable) as raised:
                client.events.list_events()
    assert asked[:2] == ["GET /base/api/lockgate/1/events/list-events ann", "Basic YW5uOnMzY3JAdA=="]
    assert "s3cr" not in str(raised.value)


REFUSED = (401, b'{"error_code": "UNAUTHENTICATED", "message": "the token is revoked."}')


def test_token_that_was_replaced_is_read_again_when_the_server_refuses_it(tmp_path: Path) -> None:
    kept, data = tmp_path / "token", tmp_path / "data"
    kept.write_text("old")
    data.write_bytes(b"x" * 100)
    with answering((200, b"{}"), REFUSED, (200, b"{}"), (200, b"{}")) as (uri, asked):
        transport = HttpTransport(uri, user="ann", token=kept.read_text)
        transport.call(LIST_EVENTS, ListEvents())
        kept.write_text("new")
        transport.put_file("0/data", data)
        transport.call(LIST_EVENTS, ListEvents())
        transport.close()
    assert asked[1::2] == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]


def test_token_that_is_still_the_refused_one_or_away_is_not_sent_again() -> None:
    tokens = iter(["old", "old"])

    def read() -> str:
        found = next(tokens, None)
        if found is None:
            raise InvalidInput("the file of the token is away.")
        return found

    with answering(REFUSED, REFUSED) as (uri, asked):
        transport = HttpTransport(uri, user="ann", token=read)
        for _ in range(2):
            with pytest.raises(Unauthenticated, match="is revoked"):
                transport.call(LIST_EVENTS, ListEvents())
        transport.close()
    assert asked[1::2] == ["Bearer old", "Bearer old"]


def test_connection_of_a_thread_that_is_gone_is_closed_when_the_next_one_asks() -> None:
    def serve_two() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            held.append(connection)
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve_two)
        server.start()
        transport = HttpTransport(f"http://127.0.0.1:{listening.getsockname()[1]}", user="ann")
        for _ in range(2):
            worker = threading.Thread(target=transport.call, args=(LIST_EVENTS, ListEvents()))
            worker.start()
            worker.join()
        server.join()
        held[0].settimeout(10)
        assert held[0].recv(1) == b""
        held[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            held[1].recv(1)
        transport.close()
    for connection in held:
        connection.close()


def test_write_after_the_server_closed_an_idle_connection_goes_over_a_new_one() -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve_two() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    asked.append(connection.recv(1 << 16).split(b" ", 1)[0])
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                closed.set()

        closed = threading.Event()
        thread = threading.Thread(target=serve_two)
        thread.start()
        transport = HttpTransport(f"http://127.0.0.1:{listening.getsockname()[1]}", user="ann")
        for _ in range(2):
            transport.call(SET_ALIAS, SetAlias(model="churn", alias="best", version=1))
            assert closed.wait(10)
        thread.join()
        transport.close()
    assert asked == [b"POST", b"POST"]


def test_error_of_the_server_is_raised_as_itself() -> None:
    body = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing", "hint": "look"}'
    with answering((404, body), (200, b"{}")) as (uri, _):
        transport = HttpTransport(uri, user="a")
        with pytest.raises(NotFound, match="no such thing") as raised:
            transport.call(LIST_EVENTS, ListEvents())
        assert raised.value.hint == "look"
        transport.call(LIST_EVENTS, ListEvents())
        transport.close()


@pytest.mark.parametrize("answer", [(502, b"<html>bad gateway"), (200, b"<html>welcome"), (500, b"[]")])
def test_server_that_is_none_of_ours_is_unavailable(answer: tuple[int, bytes]) -> None:
    with answering(answer) as (uri, _):
        transport = HttpTransport(uri, user="a")
        with pytest.raises(Unavailable):
            transport.call(LIST_EVENTS, ListEvents())
        transport.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<!doctype html><title>404 Not Found</title>"),  # of MLflow's server
        (
            404,
            b'{"error_code": "ENDPOINT_NOT_FOUND", "message": "there is nothing at GET /x"}',
        ),  # of ours, below a path
        (405, b'{"error_code": "ENDPOINT_NOT_FOUND", "message": "there is nothing at GET /x"}'),
    ],
)
def test_server_that_does_not_know_what_is_asked_is_a_wrong_address(status: int, body: bytes) -> None:
    with answering((status, body)) as (uri, _):
        transport = HttpTransport(uri, user="a")
        with pytest.raises(InvalidInput, match=f"with status {status}") as raised:
            transport.call(LIST_EVENTS, ListEvents())
        transport.close()
    assert raised.value.hint == "is the address right that --uri or LOCKGATE_URI gives, and its server new enough?"
    assert raised.value.retry_helps  # what a script logged is kept for the right one


def test_request_that_a_proxy_finds_too_large_is_not_one_to_repeat() -> None:
    with answering((413, b"<html>too large")) as (uri, _):
        transport = HttpTransport(uri, user="a")
        with pytest.raises(PayloadTooLarge, match="takes no request to /api/lockgate/1/"):
            transport.call(LIST_EVENTS, ListEvents())
        transport.close()


@pytest.mark.parametrize("status", [302, 403, 404])
def test_what_stands_before_the_server_may_let_the_same_request_through_later(status: int) -> None:
    with answering((status, b"<html>"), headers={"Location": "https://login.example"}) as (uri, _):
        transport = HttpTransport(uri, user="a")
        with pytest.raises(LockgateError) as raised:
            transport.call(LIST_EVENTS, ListEvents())
        transport.close()
    assert raised.value.retry_helps


@pytest.mark.parametrize(("said", "wait_s"), [("7", 7.0), ("²", 1.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0)])
def test_server_says_how_long_to_wait(said: str, wait_s: float) -> None:
    body = b'{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}'
    with answering((429, body), headers={"Retry-After": said}) as (uri, _):
        transport = HttpTransport(uri, user="a")
        with pytest.raises(TooManyRequests) as raised:
            transport.call(LIST_EVENTS, ListEvents())
        assert raised.value.retry_after_s == wait_s
        transport.close()


def test_read_is_repeated_on_a_dead_connection_and_a_write_is_not() -> None:
    with answering(None, (200, b"{}"), None) as (uri, asked):
        transport = HttpTransport(uri, user="a")
        transport.call(LIST_EVENTS, ListEvents())
        with pytest.raises(Unavailable):
            transport.call(SET_ALIAS, SetAlias(model="m", alias="a", version=1))
        transport.close()
    assert [line.split()[0] for line in asked] == ["GET", "GET", "POST"]


def test_nobody_listening_is_unavailable_with_the_way_out() -> None:
    transport = HttpTransport("http://127.0.0.1:9", user="a")
    with pytest.raises(Unavailable, match="cannot be reached") as raised:
        transport.call(LIST_EVENTS, ListEvents())
    assert "lockgate server" in str(raised.value.hint)


def test_broken_download_leaves_no_file(tmp_path: Path) -> None:
    with answering(None, None) as (uri, _):
        transport = HttpTransport(uri, user="a")
        with pytest.raises(Unavailable):
            transport.get_file("a", tmp_path / "target")
        transport.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri", ["ftp://x", "http://", "sqlite:///a.db", "http://[::1", "http://a:b", f"http://{'a' * 64}.example"]
)
def test_address_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match="not the address"):
        HttpTransport(uri, user="a")


def test_address_without_a_scheme_is_taken() -> None:
    assert HttpTransport("localhost:5000", user="a").uri == "localhost:5000"


def test_upload_of_a_log_that_grows_is_what_it_was_when_it_was_opened(tmp_path: Path) -> None:
    log, data = tmp_path / "log", b"line\n" * (4 << 20)  # far more than the buffers between us hold
    log.write_bytes(data)
    received: list[bytes] = []

    def receive() -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as sent:
            head = b"".join(iter(sent.readline, b"\r\n"))
            with log.open("ab") as file:
                file.write(b"DELETE /x HTTP/1.1\r\n\r\n")  # behind a body it would be another request
            received.extend((head, sent.read(len(data))))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            received.append(sent.read())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=receive)
        server.start()
        transport = HttpTransport(f"http://127.0.0.1:{listening.getsockname()[1]}", user="a")
        transport.put_file("0/log", log)
        transport.close()
        server.join()
    head, body, rest = received
    assert f"{DIGEST_HEADER}: {digest_bytes(data)}".lower() in head.decode().lower()
    assert (body == data, rest) == (True, b"")


def test_upload_of_a_file_that_shrinks_is_an_error_at_once(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 100)
    with _Beginning(file) as beginning:
        file.write_bytes(b"")
        with pytest.raises(Conflict, match="became shorter"):
            beginning.read(10)


def test_password_that_should_have_been_escaped_is_not_repeated() -> None:
    for uri in ("http://ann:SEC/RET#1@host", "ftp://ann:SECRET@host"):
        with pytest.raises(InvalidInput, match="ann:\\*\\*\\*@host' is not the address of a server"):
            HttpTransport(uri, user="ann")
