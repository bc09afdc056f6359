"""Where a webhook may be sent to, and what ends a request that leads nowhere."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lockgate.errors import InvalidInput, Unavailable
from lockgate.server import outgoing
from lockgate.server.outgoing import post, require_sendable
from lockgate.testing.receiver import Receiver


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com",
        "example.com",
        "",
        "https://",
        "https://user:secret@example.com",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1",
        "https://localhost/",
        "https://a.localhost/",
        "https://db.internal/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://224.0.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[64:ff9b::a00:1]/",
        "https://[64:ff9b:1::808:808]/",
        "https://[fec0::1]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[5f00::1]/",
        "https://.example.com/",
        f"https://{'a' * 64}.example.com/",
        "https://example.com/ü",
        "https://exa mple.com/",
        "https://example.com/a b",
    ],
)
def test_what_is_not_public_https_is_refused_without_asking_anybody(url: str) -> None:
    with pytest.raises(InvalidInput):
        require_sendable(url, private_allowed=False)


@pytest.mark.parametrize(
    "url",
    ["https://example.com/hook?a=b", "https://exämple.com/", "https://93.184.215.14/", "https://[2606:4700::1]:8443/"],
)
def test_public_https_is_sendable(url: str) -> None:
    assert require_sendable(url, private_allowed=False).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/T0KEN",
        "https://[::1/T0KEN",
        "https:///T0KEN",
        "https://example.com:0/T0KEN",
        "https://example.com/T0KEN T0KEN",
        "https://user:T0KEN@example.com/",
        "https://localhost/T0KEN",
        "example.com/T0KEN",
    ],
)
def test_a_refusal_names_no_more_of_the_address_than_its_host(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        require_sendable(url, private_allowed=False)
    assert "T0KEN" not in str(refused.value)


def test_a_setting_allows_this_machine_and_http() -> None:
    assert require_sendable("http://127.0.0.1:8000/hook", private_allowed=True).port == 8000
    with pytest.raises(InvalidInput):
        require_sendable("ftp://127.0.0.1/", private_allowed=True)


def test_a_name_that_turns_out_to_mean_this_machine_is_refused_whether_anybody_listens_or_not() -> None:
    """The host passes every look at the URL; only the address that it means gives it away."""
    guarded = outgoing._guarded(private_allowed=False, each_s=5.0, until=time.monotonic() + 5.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        for host in ("127\u30020\u30020\u30021", "127.0.0.1"):
            with pytest.raises(InvalidInput, match=r"not a public address"):
                guarded((host, port), None)
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody knocked
            listening.accept()
    with pytest.raises(InvalidInput, match=r"not a public address"):
        guarded(("127.0.0.1", port), None)


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_address_with_colons_keeps_its_last_group(scheme: str, port: int) -> None:
    connection = outgoing._connection(require_sendable(f"{scheme}://[2606:4700:4700::1111]/", private_allowed=True))
    assert (connection.host, connection.port) == ("2606:4700:4700::1111", port)


def test_a_request_carries_what_it_is_given() -> None:
    with Receiver() as receiver:
        answer = post(receiver.url, b'{"a": 1}', {"X-One": "1"}, private_allowed=True)
        received = receiver.wait()
    assert answer.status == 204
    assert (received.body, received.headers["x-one"]) == ('{"a": 1}', "1")


def test_a_receiver_may_take_longer_to_answer_than_to_be_connected_to() -> None:
    class Later(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return super().wait(0.3)

    with Receiver(wait_for=Later()) as receiver:
        assert post(receiver.url, b"{}", {}, private_allowed=True, connect_limit_s=0.1).status == 204


def test_redirects_are_answers_and_not_followed() -> None:
    with Receiver([302]) as receiver:
        assert post(receiver.url, b"{}", {}, private_allowed=True).status == 302
        assert len(receiver.take_all()) == 1


def test_nobody_there_is_unavailable() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(Unavailable, match=r"no answer from 127\.0\.0\.1"):
            post(f"http://127.0.0.1:{port}/", b"{}", {}, private_allowed=True)


def test_an_answer_that_is_no_http_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        talking = threading.Thread(target=talk)
        talking.start()
        with pytest.raises(Unavailable):
            post(f"http://127.0.0.1:{listening.getsockname()[1]}/", b"{}", {}, private_allowed=True)
        talking.join()


@contextmanager
def dripping(beginning: bytes) -> Iterator[tuple[str, threading.Event]]:
    """The address of who sends a beginning and then a byte now and then, for as long as somebody listens."""
    hung_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    connection.sendall(beginning)
                    while True:
                        connection.sendall(b"X")
                        hung_up.wait(0.05)
                except OSError:
                    hung_up.set()

        thread = threading.Thread(target=drip)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/", hung_up
        thread.join()


def test_a_receiver_that_drips_is_cut_off() -> None:
    """Each byte comes in time; only the whole takes for ever."""
    with dripping(b"HTTP/1.1 200 OK\r\n") as (url, hung_up):
        with pytest.raises(Unavailable, match="not within"):
            post(url, b"{}", {}, private_allowed=True, limit_s=0.3)
        assert hung_up.wait(60)


def test_a_limit_that_is_over_before_anybody_is_connected_to_ends_it_as_well() -> None:
    """As where the name server takes its time."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with pytest.raises(Unavailable, match="no answer from"):
            post(f"http://127.0.0.1:{listening.getsockname()[1]}/", b"{}", {}, private_allowed=True, limit_s=0.0)
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody knocked
            listening.accept()


@pytest.mark.parametrize("reads_body", [True, False])
def test_an_answer_whose_body_does_not_end_is_an_answer(reads_body: bool) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n") as (url, hung_up):
        answer = post(url, b"{}", {}, private_allowed=True, reads_body=reads_body, limit_s=1.0)
        assert answer.status == 200
        assert hung_up.wait(60)
