"""`lockgate up` as real processes: what it refuses, how it stops, and what kill -9 leaves behind."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyRegressor

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.delivery.deploy import deploy
from lockgate.entities import Release, Rollout, Verdict
from lockgate.models.save import save_model
from lockgate.project import Folder, load_project
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.store.store import Store

CLOCK = SystemClock()
LIMIT_S = 60.0
YAML = """\
model: churn
task: regression
environments:
  production:
    rollout: {strategy: canary, steps: [20, 60, 100], bake: 1s, min_requests: 0}
"""


class Up:
    """`lockgate up` of one project; `stop` and `kill` end it."""

    def __init__(self, root: Path, *, api_port: int = 0, serve_port: int = 0) -> None:
        self.api_port = api_port or free_port()
        self.serve_port = serve_port or free_port()
        self.log = root / "up.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "lockgate", "-C", str(root), "up"),
                    *("--api-port", str(self.api_port), "--serve-port", str(self.serve_port)),
                ],
                stdout=output,
                stderr=output,
            )

    def wait_ready(self) -> "Up":
        wait_for(lambda: answers(f"http://127.0.0.1:{self.api_port}/ready"), self.log)
        return self

    def children(self) -> list[int]:
        pid = self.process.pid
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def wait_for(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A project with two releases of a model that loads."""
    (tmp_path / "lockgate.yaml").write_text(YAML)
    folder = load_project(tmp_path)
    store = Store(folder.state / "store")
    with open_client(folder) as client:
        for constant in (1.0, 2.0):
            example = pl.DataFrame({"a": [1.0, 2.0]})
            model = DummyRegressor(strategy="constant", constant=constant).fit(np.zeros((2, 1)), [constant, constant])
            save_model(model, tmp_path / "model", example=example)
            verdict = Verdict(passed=True, checks=(), metrics={}, champion_version=None, rows=1, decided_at=1)
            client.registry.create_release(
                Release(
                    model="churn",
                    version=0,
                    content=store.put_tree(tmp_path / "model"),
                    run_id="",
                    created_at=1,
                    created_by="ann",
                    flavor="sklearn",
                    verdict=verdict,
                )
            )
    return folder


@pytest.fixture
def ups(folder: Folder) -> Iterator[list[Up]]:
    started: list[Up] = []
    yield started
    for up in started:
        if up.process.poll() is None:
            up.kill()


def open_client(folder: Folder) -> Client:
    return Client(LocalTransport(open_context(folder.state, user="ann", clock=CLOCK)), CLOCK)


def begin(folder: Folder, client: Client, version: int) -> Rollout:
    return deploy(folder, client, model="churn", version=version, environment="production", by="ann", clock=CLOCK)


def state_of(client: Client, rollout: Rollout) -> str:
    return client.delivery.get_rollout(rollout.rollout_id).state


def test_one_up_a_project_and_it_takes_its_children_along(folder: Folder, ups: list[Up]) -> None:
    up = Up(folder.root)
    ups.append(up)
    up.wait_ready()
    second = subprocess.run(
        [sys.executable, "-m", "lockgate", "-C", str(folder.root), "up"], capture_output=True, text=True
    )
    assert second.returncode == 2
    assert f"process {up.process.pid}" in second.stderr
    children = up.children()
    assert children
    assert up.stop() == 0
    assert not any(map(is_running, children))


def test_a_taken_port_is_an_error_that_names_it(folder: Folder, ups: list[Up]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = Up(folder.root, api_port=taken.getsockname()[1])
        ups.append(up)
        assert up.process.wait(LIMIT_S) == 2
    assert str(up.api_port) in up.log.read_text()


def test_a_rollout_goes_on_after_up_was_killed_in_the_middle(folder: Folder, ups: list[Up]) -> None:
    with open_client(folder) as client:
        up = Up(folder.root).wait_ready()
        ups.append(up)
        first = begin(folder, client, 1)
        wait_for(lambda: state_of(client, first) == "succeeded", up.log)
        second = begin(folder, client, 2)
        wait_for(lambda: state_of(client, second) == "baking", up.log)
        children = up.children()
        up.kill()
        wait_for(lambda: not any(map(is_running, children)), up.log)
        assert state_of(client, second) == "baking"
        again = Up(folder.root).wait_ready()
        ups.append(again)
        wait_for(lambda: state_of(client, second) == "succeeded", again.log)
        assert client.registry.get_alias("churn", "champion") == 2
        assert again.stop() == 0


def test_a_replica_that_dies_is_started_again(folder: Folder, ups: list[Up]) -> None:
    with open_client(folder) as client:
        up = Up(folder.root).wait_ready()
        ups.append(up)
        first = begin(folder, client, 1)
        wait_for(lambda: state_of(client, first) == "succeeded", up.log)
        health = f"http://127.0.0.1:{up.serve_port}/v2/health/ready"
        wait_for(lambda: answers(health), up.log)
        (replica,) = up.children()
        os.kill(replica, signal.SIGKILL)
        wait_for(lambda: not is_running(replica), up.log)
        wait_for(lambda: answers(health), up.log)
        assert up.stop() == 0
