"""A receiver of webhooks to test with: a real HTTP server on this machine that answers what it is told to."""

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from types import TracebackType
from typing import Any, NamedTuple

_LIMIT_S = 60.0
_LOOK_FOR_THE_END_EVERY_S = 0.02


class Received(NamedTuple):
    """One request. Header names are in lower case."""

    headers: dict[str, str]
    body: str

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def event(self) -> str:
        return f"{self.message['entity']}.{self.message['action']}"


class Receiver:
    """`url` is where it listens. It answers with `statuses` one after the other, and with 204 when they are used up;
    no answer comes before `wait_for` is set.
    """

    def __init__(self, statuses: Iterable[int] = (), *, wait_for: threading.Event | None = None) -> None:
        left = iter(statuses)
        received: Queue[Received] = Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                received.put(Received({key.lower(): value for key, value in self.headers.items()}, body))
                if wait_for is not None:
                    wait_for.wait(_LIMIT_S)
                status = next(left, 204)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on standard error."""

        self._received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_FOR_THE_END_EVERY_S,), daemon=True
        )
        self._thread.start()

    def wait(self) -> Received:
        """The next request, as soon as there is one. Raises `queue.Empty` after a minute without."""
        return self._received.get(timeout=_LIMIT_S)

    def take_all(self) -> list[Received]:
        """What has come since the last call."""
        return [self._received.get_nowait() for _ in range(self._received.qsize())]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
