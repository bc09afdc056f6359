"""`lockgate up` as real processes: what it refuses, how it stops, and what kill -9 leaves behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
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
StartUp = Callable[..., Any]  # conftest's Up: test folders are no packages
YAML = """\
model: churn
task: regression
environments:
  production:
    rollout: {strategy: canary, steps: [20, 60, 100], bake: 1s, min_requests: 0}
"""


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


def open_client(folder: Folder) -> Client:
    return Client(LocalTransport(open_context(folder.state, user="ann", clock=CLOCK)), CLOCK)


def begin(folder: Folder, client: Client, version: int) -> Rollout:
    return deploy(folder, client, model="churn", version=version, environment="production", by="ann", clock=CLOCK)


def test_one_up_a_project_and_it_takes_its_children_along(folder: Folder, start_up: StartUp) -> None:
    up = start_up(folder.root).wait_ready()
    command = [sys.executable, "-m", "lockgate", "-C", str(folder.root), "up"]
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 2
    assert f"process {up.process.pid}" in second.stderr
    children = up.children()
    assert children
    assert up.stop() == 0
    assert not any(map(is_running, children))


def test_a_taken_port_is_an_error_that_names_it(folder: Folder, start_up: StartUp) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = start_up(folder.root, api_port=taken.getsockname()[1])
        assert up.process.wait(60) == 2
    assert str(up.api_port) in up.log.read_text()


def test_a_rollout_goes_on_after_up_was_killed_in_the_middle(folder: Folder, start_up: StartUp) -> None:
    with open_client(folder) as client:

        def is_in(state: str, rollout: Rollout) -> Callable[[], bool]:
            return lambda: client.delivery.get_rollout(rollout.rollout_id).state == state

        up = start_up(folder.root).wait_ready()
        up.wait_for(is_in("succeeded", begin(folder, client, 1)))
        rollout = begin(folder, client, 2)
        up.wait_for(is_in("baking", rollout))
        children = up.kill()
        up.wait_for(lambda: not any(map(is_running, children)))
        again = start_up(folder.root).wait_ready()
        again.wait_for(is_in("succeeded", rollout))
        assert client.registry.get_alias("churn", "champion") == 2
    log = again.log.read_text()
    assert [log.count(f"{share} % was fine") for share in (20, 60)] == [1, 1]  # one driver, before and after


def test_a_replica_that_dies_is_started_again(folder: Folder, start_up: StartUp) -> None:
    with open_client(folder) as client:
        up = start_up(folder.root)
        begin(folder, client, 1)
        up.wait_for(up.serves)
        (replica,) = up.children()
        os.kill(replica, signal.SIGKILL)
        up.wait_for(lambda: not is_running(replica))
        up.wait_for(up.serves)


class Deadly(DummyRegressor):  # type: ignore[misc]  # scikit-learn has no types
    """Loads like any model until the file `flag` is there; then it takes the process with it."""

    def __init__(self, flag: str = "") -> None:
        super().__init__(strategy="constant", constant=3.0)
        self.flag = flag

    def __reduce__(self) -> tuple[object, ...]:
        harmless = "__import__('sklearn.dummy').dummy.DummyRegressor(strategy='constant', constant=3.0)"
        deadly = f"__import__('os')._exit(9) if __import__('os').path.exists({self.flag!r}) else"
        return eval, (f"{deadly} {harmless}.fit([[0]], [3.0])",)


def release_deadly(folder: Folder, client: Client) -> int:
    """One more version, which passed its gates and kills its replica."""
    flag = folder.root / "deadly"
    save_model(
        Deadly(str(flag)).fit(np.zeros((2, 1)), [3.0, 3.0]),
        folder.root / "model",
        example=pl.DataFrame({"a": [1.0, 2.0]}),
        flavor="sklearn",
    )
    flag.touch()
    content = Store(folder.state / "store").put_tree(folder.root / "model")
    return client.registry.create_release(
        msgspec.structs.replace(client.registry.get_release("churn", 2), content=content)
    ).version


def test_a_model_that_kills_its_replica_is_rolled_back(folder: Folder, start_up: StartUp) -> None:
    with open_client(folder) as client:
        deadly = release_deadly(folder, client)
        up = start_up(folder.root)
        begin(folder, client, 1)
        up.wait_for(up.serves)
        up.wait_for(lambda: client.registry.get_alias("churn", "champion") == 1)
        rollout = begin(folder, client, deadly)
        up.wait_for(lambda: client.delivery.get_rollout(rollout.rollout_id).state == "rolled_back")
        up.wait_for(up.serves)


def test_what_failed_in_one_environment_is_not_promoted_to_the_next(folder: Folder, start_up: StartUp) -> None:
    environments = "{staging: {promote: automatic}, production: {promote: automatic}}"
    (folder.root / "lockgate.yaml").write_text(f"model: churn\ntask: regression\nenvironments: {environments}\n")
    with open_client(folder) as client:

        def promoted(version: int) -> Callable[[], bool]:
            client.registry.set_alias("churn", "challenger", version, reason="passed its gates")
            return lambda: client.registry.get_alias("churn", "champion") == version

        deadly = release_deadly(folder, client)
        up = start_up(folder.root)
        up.wait_for(promoted(1))
        client.registry.set_alias("churn", "challenger", deadly, reason="passed its gates")
        up.wait_for(lambda: "challenger" not in client.registry.list_aliases("churn"))
        up.wait_for(promoted(2))
        tried = [(rollout.environment, rollout.version) for rollout in client.delivery.list_rollouts("churn")]
    in_order = [("staging", 1), ("production", 1), ("staging", deadly), ("staging", 2), ("production", 2)]
    assert tried[::-1] == in_order
