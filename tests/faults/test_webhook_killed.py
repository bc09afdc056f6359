"""kill -9 of the server while a receiver holds its message: the message comes again, and is known by its id."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from msgspec.structs import replace

from lockgate.clock import FakeClock, SystemClock
from lockgate.metadata import outbox
from lockgate.server import courier
from lockgate.server.context import Context, open_context

SERVER = """
import sys, time
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread
context = open_context(Path(sys.argv[1]), user="server", clock=SystemClock())
app = make_app(context, settings=Settings(webhook_private_addresses=True))
server = serve_in_thread(app)
if sys.argv[2] == "sending":
    app.courier().start()
print(server.port, flush=True)
time.sleep(120)
"""
LEASE_S = 120


def start(state: Path, mode: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(state), mode], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


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


def later(state: Path) -> Context:
    """The installation when every lease of the dead server is over."""
    clock = FakeClock(SystemClock().now_ms() + (LEASE_S + 1) * 1000)
    return replace(open_context(state, user="after", clock=clock), webhook_private_addresses=True)


def waiting(context: Context) -> int:
    with context.read() as connection:
        return len(outbox.due_webhooks(connection, now=context.clock.now_ms() + 10 * LEASE_S * 1000))


def test_a_message_that_nobody_acknowledged_comes_again_with_the_same_id(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        receiver.settimeout(60)
        process, port = start(tmp_path, "sending")
        try:
            make_event(port, receiver)
            held, _ = receiver.accept()
            with held:
                first = read_request(held)
                kill(process)
        finally:
            process.kill()
        context = later(tmp_path)
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


def test_an_event_of_a_server_that_died_before_it_sent_anything_is_sent_by_the_next(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        receiver.settimeout(60)
        process, port = start(tmp_path, "silent")
        try:
            make_event(port, receiver)
            kill(process)
        finally:
            process.kill()
        process, _ = start(tmp_path, "sending")
        try:
            sent, _ = receiver.accept()
            with sent:
                request = read_request(sent)
        finally:
            kill(process)
    assert json.loads(request.rpartition("\r\n\r\n")[2])["data"]["name"] == "m"
