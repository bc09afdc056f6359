"""Random and mutated requests: refused with MLflow's error body or answered; none is a 5xx or leaves its root."""

import http.client
import json
import random
import socket
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import RunningServer, serve_in_thread
from lockgate.server.table import ROUTES

# Served as "not here", with 501 and MLflow's error body: they are no operations of ours.
_NOT_IMPLEMENTED = 501
_NASTY_TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "x" * 5_000,
    "é漢🚢\u202e",
    "'; DROP TABLE runs; --",
    "' OR 1=1 --",
    "metrics.a > 1 AND (",
    "((((" * 300,
    "NOT " * 2_000 + "metrics.a = 1",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "..\\..\\windows",
    "file:///etc/passwd",
    "models:/a/1",
    "runs:/x/y",
    "%00",
    "{{7*7}}",
    "-1",
    "0",
    "NaN",
    "1e999",
    "true",
    "null",
)
_NASTY_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, 0.5, -0.0, 1e308)
_RAW = (
    b"\xff\xfe\x00\x01\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: " + b"a" * 100_000 + b"\r\n\r\n",
    b"POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
)


@pytest.fixture
def server(tmp_path: Path, database_setting: str) -> Iterator[RunningServer]:
    (tmp_path / "state").mkdir()
    context = open_context(tmp_path / "state", user="me", clock=SystemClock(), database=database_setting)
    running = serve_in_thread(make_app(context, settings=Settings(max_body_mb=1)))
    yield running
    running.stop()
    context.close()


_HUNG_UP = 0


class Client:
    """One connection that is made anew when the server hung up."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._open = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        for is_last in (False, True):
            try:
                self._open.request(method, path, body=body, headers={"Content-Type": "application/json"})
                answer = self._open.getresponse()
                return answer.status, answer.read()
            except (ConnectionError, http.client.RemoteDisconnected):
                # What is refused before its body is read is hung up on, now or by the time of the next request.
                self._open.close()
                if is_last and body is None:
                    raise
        return _HUNG_UP, b""

    def close(self) -> None:
        self._open.close()


def mutated(rng: random.Random, known: list[str]) -> tuple[str, str, bytes | None]:
    """One request to one of our operations whose fields hold whatever comes to hand."""
    operation = rng.choice(ROUTES).operation
    values = {
        field.encode_name: value(rng, known)
        for field in msgspec.structs.fields(operation.request)
        if rng.random() < 0.85
    }
    path = operation.path
    for name in operation.path_fields:
        path = path.replace(f"{{{name}}}", quote(str(values.pop(name, None) or rng.choice(known)), safe=""))
    if rng.random() < 0.05:
        others = ("%2e%2e", "/", "%00", "")
        path = "/" + "".join(rng.choice(others) if rng.random() < 0.1 else letter for letter in path[1:])
    if operation.method == "GET":
        query = "&".join(f"{name}={quote(str(item)[:2_000])}" for name, item in values.items())
        return "GET", f"{path}?{query}", None
    body = json.dumps(values).encode()
    if rng.random() < 0.1:
        at = rng.randrange(len(body))
        body = body[:at] + bytes([rng.randrange(256)]) + body[at + rng.randrange(3) :]
    if rng.random() < 0.02:
        body = b"[" * 100_000
    return operation.method, path, body


def value(rng: random.Random, known: list[str], depth: int = 0) -> Any:  # any JSON value
    kind = rng.randrange(10 if depth < 3 else 6)
    if kind < 2:
        return rng.choice(known)
    if kind == 2:
        return rng.choice(_NASTY_TEXTS)
    if kind == 3:
        return rng.choice(_NASTY_NUMBERS)
    if kind == 4:
        return rng.choice((None, True, False))
    if kind == 5:
        return "".join(rng.choices(string.printable, k=rng.randrange(30)))
    if kind < 8:
        return [value(rng, known, depth + 1) for _ in range(rng.randrange(4))]
    names = ("key", "value", "timestamp", "step", "name", "tags", "dataset", "model_id", "metrics")
    return {rng.choice(names): value(rng, known, depth + 1) for _ in range(rng.randrange(5))}


def artifact(rng: random.Random) -> tuple[str, str, bytes | None]:
    """A file to or from a path that wants out."""
    steps = rng.choices(("..", "%2e%2e", "%252e%252e", "a", "", ".", "\\..", "%5c..", "%00", "etc", "x" * 300), k=4)
    path = "/api/2.0/mlflow-artifacts/artifacts/" + "/".join(steps).replace("\\", "%5c")
    return (method := rng.choice(("PUT", "GET"))), path, b"escaped" if method == "PUT" else None


def check(server: RunningServer, root: Path, requests: int, seed: int) -> None:
    rng = random.Random(seed)
    client = Client(server.port)
    run = json.loads(client.ask("POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}')[1])
    client.ask("POST", "/api/2.0/mlflow/registered-models/create", b'{"name": "m"}')
    known = [run["run"]["info"]["run_id"], "0", "m", "1", "champion", "production", "metrics.a > 0.5", "a"]
    statuses: dict[int, int] = {}
    for _ in range(requests):
        method, path, body = artifact(rng) if rng.random() < 0.05 else mutated(rng, known)
        status, answer = client.ask(method, path, body)
        statuses[status] = statuses.get(status, 0) + 1
        shown = f"{method} {path[:300]} {(body or b'')[:500]!r} -> {status} {answer[:500]!r}"
        assert status < 500 or status == _NOT_IMPLEMENTED, shown
        if status >= 400 and method != "HEAD":
            assert answer.startswith(b'{"error_code":"'), shown
            assert json.loads(answer)["message"], shown
    # Were all refused for the same small reason, nothing would have been tried.
    assert min(statuses.get(status, 0) for status in (200, 400, 404)) > requests // 100, statuses
    assert [path.name for path in root.iterdir()] == ["state"]
    assert not list(root.rglob("passwd"))
    assert client.ask("GET", "/health", None)[0] == 200
    client.close()


def test_mutated_requests_are_refused_and_never_a_server_error(server: RunningServer, tmp_path: Path) -> None:
    check(server, tmp_path, 1_500, seed=1)


@pytest.mark.slow
def test_ten_thousand_mutated_requests(server: RunningServer, tmp_path: Path) -> None:
    check(server, tmp_path, 10_000, seed=2)


@pytest.mark.parametrize("raw", _RAW)
def test_what_is_no_http_ends_its_connection_alone(server: RunningServer, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1_000)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer
    client = Client(server.port)
    assert client.ask("GET", "/health", None)[0] == 200
    client.close()


def test_fifty_megabytes_are_refused_by_their_size(server: RunningServer) -> None:
    client = Client(server.port)
    status, answer = client.ask("POST", "/api/2.0/mlflow/runs/log-batch", b" " * (50 << 20))
    assert status == 413
    assert json.loads(answer)["error_code"] == "INVALID_PARAMETER_VALUE"
    client.close()
