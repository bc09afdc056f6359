"""`lockgate up` and servers as real processes, ended with the test that started them."""

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from lockgate.metadata.postgres_address import parse_address

LIMIT_S = 90.0
SERVER = """
import sys
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread
state, database, webhooks = sys.argv[1:]
app = make_app(
    open_context(Path(state), user="server", clock=SystemClock(), database=database),
    settings=Settings(webhook_private_addresses=True),
)
server = serve_in_thread(app)
if webhooks == "sent":
    app.courier().start()
print(server.port, flush=True)
sys.stdin.read()
"""
# Returns when they are gone.
END_SESSIONS = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = '{name}'"


class Up:
    """One `lockgate up`. What it prints goes to `log`."""

    def __init__(self, root: Path, *, api_port: int = 0) -> None:
        self.api_port = api_port or free_port()
        self.serve_port = free_port(following=2)  # one for each environment
        self.log = root / "up.log"
        ports = ("--api-port", str(self.api_port), "--serve-port", str(self.serve_port))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lockgate", "-C", str(root), "up", *ports], stdout=output, stderr=output
            )

    def wait_ready(self) -> "Up":
        self.wait_for(lambda: answers(f"http://127.0.0.1:{self.api_port}/ready"))
        return self

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until it holds; the log is the message where it never does."""
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def serves(self) -> bool:
        return answers(f"http://127.0.0.1:{self.serve_port}/v2/health/ready")

    def children(self) -> list[int]:
        """The processes it started that run now."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> list[int]:
        """kill -9; the children it had."""
        children = self.children()
        self.process.kill()
        self.process.wait()
        return children


class ServerProcess:
    """A server that answers at `port`, with its records in `state` or where the setting `database` points."""

    def __init__(self, state: Path, database: str = "", *, sends_webhooks: bool = False) -> None:
        self._database = database
        self._name = f"server-{secrets.token_hex(4)}"
        own = f"{database}&application_name={self._name}" if database else ""
        words = (str(state), own, "sent" if sends_webhooks else "kept")
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """kill -9. When this returns nothing of it goes on; a second call does nothing."""
        if self._process.poll() is not None:
            return
        self._process.kill()
        self._process.communicate()
        if self._database:  # PostgreSQL would go on with whole transactions that it had been sent
            engine = create_engine(parse_address(self._database))
            with engine.connect() as connection:
                connection.exec_driver_sql(END_SESSIONS.format(name=self._name))
            engine.dispose()


def free_port(*, following: int = 0) -> int:
    """With so many free ones after it; below the range from which the system gives ports to connections."""
    for port in random.Random(os.getpid() + time.monotonic_ns()).sample(range(20_000, 32_000), 100):
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for number in range(port, port + 1 + following):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port
    raise AssertionError("no free ports")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def start_up() -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(root: Path, *, api_port: int = 0) -> Up:
        started.append(Up(root, api_port=api_port))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.kill()


@pytest.fixture
def start_server() -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(state: Path, database: str = "", *, sends_webhooks: bool = False) -> ServerProcess:
        started.append(ServerProcess(state, database, sends_webhooks=sends_webhooks))
        return started[-1]

    yield start
    for server in started:
        server.kill()
