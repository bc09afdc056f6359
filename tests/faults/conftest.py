"""`lockgate up` as a real process, ended with the test that started it."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LIMIT_S = 90.0


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
