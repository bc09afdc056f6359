"""kill -9 of the server while a receiver holds its message: the message comes again, and is known by its id."""

import http.client
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lockgate.clock import FakeClock, SystemClock
from lockgate.metadata import outbox
from lockgate.server import courier
from lockgate.server.context import Context, open_context

LEASE_S = outbox.LEASE_MS // 1000


def post(port: int, path: str, value: dict[str, object]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", f"/api/2.0/mlflow/{path}", body=json.dumps(value))
    assert connection.getresponse().status == 200
    connection.close()


def make_event(port: int, receiver: socket.socket) -> None:
    url = f"http://127.0.0.1:{receiver.getsockname()[1]}/hook"
    events = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
    post(port, "webhooks", {"name": "hook", "url": url, "events": events})
    post(port, "registered-models/create", {"name": "m"})


def read_request(connection: socket.socket) -> str:
    """The whole request; nothing is answered."""
    data = b""
    while not data.endswith(b"}}"):
        data += connection.recv(65536)
    return data.decode()


def header(request: str, name: str) -> str:
    return next(line.partition(": ")[2] for line in request.split("\r\n") if line.startswith(f"{name}: "))


def later(state: Path, database: str) -> Context:
    """The installation when every lease of the dead server is over."""
    clock = FakeClock(SystemClock().now_ms() + (LEASE_S + 1) * 1000)
    return replace(open_context(state, user="after", clock=clock, database=database), webhook_private_addresses=True)


def waiting(context: Context) -> int:
    with context.read() as connection:
        return len(outbox.due_webhooks(connection, now=context.clock.now_ms() + 10 * LEASE_S * 1000))


def test_a_message_that_nobody_acknowledged_comes_again_with_the_same_id(
    tmp_path: Path, start_server: Callable[..., Any], database_setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        receiver.settimeout(60)
        server = start_server(tmp_path, database_setting, sends_webhooks=True)
        make_event(server.port, receiver)
        held, _ = receiver.accept()
        with held:
            first = read_request(held)
            server.kill()
        context = later(tmp_path, database_setting)
        (webhook_id,) = courier.waiting(context)
        sending = threading.Thread(target=courier.deliver, args=(context, webhook_id))
        sending.start()
        again, _ = receiver.accept()
        with again:
            second = read_request(again)
            again.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        sending.join()
    assert header(first, "X-MLflow-Delivery-Id") == header(second, "X-MLflow-Delivery-Id")
    assert first.rpartition("\r\n\r\n")[2] == second.rpartition("\r\n\r\n")[2]
    assert waiting(context) == 0
    context.close()


def test_an_event_of_a_server_that_died_before_it_sent_anything_is_sent_by_the_next(
    tmp_path: Path, start_server: Callable[..., Any], database_setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        receiver.settimeout(60)
        first = start_server(tmp_path, database_setting)
        make_event(first.port, receiver)
        first.kill()
        start_server(tmp_path, database_setting, sends_webhooks=True)
        sent, _ = receiver.accept()
        with sent:
            request = read_request(sent)
    assert json.loads(request.rpartition("\r\n\r\n")[2])["data"]["name"] == "m"
