"""A server to be asked over raw HTTP, where the client would be too polite."""

import base64
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.entities import Grant, Role
from lockgate.metadata import users
from lockgate.server.app import make_app
from lockgate.server.context import Context, open_context
from lockgate.server.local import LocalTransport
from lockgate.server.login import FRESH_S
from lockgate.server.passwords import Cost, hash_password
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
        if data and found.get("content-type") == "application/json":
            data = json.loads(data)
        return answer.status, data, found


@pytest.fixture
def context(tmp_path: Path, database_setting: str) -> Iterator[Context]:
    found = open_context(tmp_path / "state", user="server", clock=FakeClock(), database=database_setting)
    yield found
    found.close()


@pytest.fixture
def asked(context: Context) -> Iterator[Asked]:
    app = make_app(context, settings=Settings(max_body_mb=1))
    with serve_in_thread(app) as server:
        yield Asked(server.port, server.url, context)
    app.close()


@dataclass(frozen=True)
class Team:
    """A server where everybody logs in, with users and their tokens made behind its back."""

    asked: Asked
    clock: FakeClock
    client: Client

    def add(self, name: str, role: Role | None = None, *, pattern: str = "*", password: str = "") -> str:
        """A user with a role; the text of a token. A password is hashed cheaply: nobody guesses it here."""
        stored = hash_password(password, cost=Cost(n=16, r=1, p=1)) if password else ""
        granted = [Grant(pattern=pattern, role=role)] if role else []
        with self.asked.context.write() as tx:
            users.add_user(tx, name, password=stored, granted=granted)
        text = self.client.access.create_token(name).text
        self.pass_time(FRESH_S)
        return text

    def pass_time(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def ask(
        self, token: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body of what the owner of a token asks."""
        status, data, _ = self.asked.ask(method, path, body, {"Authorization": f"Bearer {token}", **(headers or {})})
        return status, data

    def log_in(self, name: str, password: str) -> tuple[int, Any, dict[str, str]]:
        """What basic authentication is answered."""
        credentials = base64.b64encode(f"{name}:{password}".encode()).decode()
        path = "/api/lockgate/1/access/who-am-i"
        return self.asked.ask("GET", path, headers={"Authorization": f"Basic {credentials}"})


@pytest.fixture
def team(asked: Asked) -> Team:
    """Begins with one admin, `ada`, whose token nobody has."""
    clock = asked.context.clock
    assert isinstance(clock, FakeClock)
    found = Team(asked, clock, Client(LocalTransport(asked.context), clock))
    found.add("ada", "admin", password="correct horse battery")
    return found
