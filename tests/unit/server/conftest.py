"""A server to be asked over raw HTTP, where the client would be too polite."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.server.app import make_app
from lockgate.server.context import Context, open_context
from lockgate.server.run import serve_in_thread


@dataclass(frozen=True)
class Asked:
    """A running server; `ask` sends exactly what it is told to."""

    port: int
    url: str
    context: Context

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (decoded where it is JSON) and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            data: Any = answer.read()
            found = {key.lower(): value for key, value in answer.getheaders()}
        finally:
            connection.close()
        if found.get("content-type") == "application/json":
            data = json.loads(data)
        return answer.status, data, found


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    found = open_context(tmp_path / "state", user="server", clock=FakeClock())
    yield found
    found.close()


@pytest.fixture
def asked(context: Context) -> Iterator[Asked]:
    app = make_app(context, settings=Settings(max_body_mb=1))
    with serve_in_thread(app) as server:
        yield Asked(server.port, server.url, context)
    app.close()
