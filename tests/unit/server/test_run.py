import asyncio
import socket
import subprocess
import sys
import urllib.request

import pytest

from lockgate.errors import InvalidInput
from lockgate.server.run import reserve_port, serve, serve_in_thread


async def hello(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello", "more_body": False})


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def test_server_answers_when_it_is_handed_over_and_not_after_it_stopped() -> None:
    server = serve_in_thread(hello)
    assert read(server.url) == b"hello"
    server.stop()
    server.stop()
    with pytest.raises(OSError):
        read(server.url)


def test_port_is_free_again_after_the_server() -> None:
    with serve_in_thread(hello) as server:
        port = server.port
    with serve_in_thread(hello, port=port) as again:
        assert read(again.url) == b"hello"


def test_taken_port_is_named_with_its_setting() -> None:
    with serve_in_thread(hello) as server, pytest.raises(InvalidInput, match=f"port {server.port}") as refused:
        serve_in_thread(hello, port=server.port)
    assert "LOCKGATE_API_PORT" in str(refused.value.hint)


def test_port_of_another_program_is_taken_too() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InvalidInput, match="taken"):
            serve_in_thread(hello, port=other.getsockname()[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com", ""])
def test_address_that_others_could_reach_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="without a login"):
        serve_in_thread(hello, host=host)


def test_coroutine_form_serves_until_it_is_told_to_stop() -> None:
    async def main() -> bytes:
        stop = asyncio.Event()
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(serve(hello, "127.0.0.1", 0, stop, on_ready=url.set_result))
        answer = await asyncio.to_thread(read, await url)
        stop.set()
        await serving
        return answer

    assert asyncio.run(main()) == b"hello"


def test_request_in_flight_is_answered_before_the_end() -> None:
    async def slow(scope, receive, send) -> None:
        await asyncio.sleep(0.3)
        await hello(scope, receive, send)

    async def main() -> bytes:
        stop = asyncio.Event()
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(serve(slow, "127.0.0.1", 0, stop, on_ready=url.set_result))
        asking = asyncio.ensure_future(asyncio.to_thread(read, await url))
        await asyncio.sleep(0.1)
        stop.set()
        answer = await asking
        await serving
        return answer

    assert asyncio.run(main()) == b"hello"


def test_process_ends_cleanly_right_after_its_server() -> None:
    code = """
import urllib.request
from lockgate.server.run import serve_in_thread
async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
server = serve_in_thread(hello)
urllib.request.urlopen(server.url).read()
server.stop()
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_taken_port_is_an_error_that_names_where_it_comes_from() -> None:
    with reserve_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(InvalidInput, match=f"port {port} on 127.0.0.1 is taken") as refused:
            reserve_port("127.0.0.1", port, setting="serve_port", key="environments.production.port")
    assert refused.value.hint == (
        "stop it, or choose another port: LOCKGATE_SERVE_PORT=N (setting serve_port), or environments.production.port "
        "in lockgate.yaml"
    )


def test_stop_does_not_wait_for_a_client_that_never_finishes() -> None:
    async def main() -> float:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        url: asyncio.Future[str] = loop.create_future()

        async def reading(scope, receive, send) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        serving = asyncio.ensure_future(serve(reading, "127.0.0.1", 0, stop, on_ready=url.set_result, end_limit_s=0.2))
        _, writer = await asyncio.open_connection("127.0.0.1", int((await url).rpartition(":")[2]))
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
        await asyncio.sleep(0.1)
        stop.set()
        began = loop.time()
        await serving
        writer.close()
        return loop.time() - began

    assert 0.1 < asyncio.run(main()) < 10
