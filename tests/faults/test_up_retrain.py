"""`lockgate up` answers changed data with a run and a rollout, also when it is killed in the middle of the run.

Data that its contract refused is tried again when the contract changes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyRegressor

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.models.save import save_model
from lockgate.project import load_project
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport

StartUp = Callable[..., Any]  # conftest's Up: test folders are no packages
YAML = """\
model: churn
task: regression
data:
  rows: {path: rows.csv}
stages:
  train:
    cmd: [touch started, sleep 1, rm -rf build, mkdir build, cp -r prebuilt build/model, cp rows.csv build/model]
    deps: [rows.csv, prebuilt]
    model: build/model
environments:
  staging: {promote: automatic}
retrain: {on: [data], cooldown: 0s}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose pipeline only copies a model, and its data with it."""
    (tmp_path / "lockgate.yaml").write_text(YAML)
    (tmp_path / "rows.csv").write_text("a\n1\n")
    model = DummyRegressor(strategy="constant", constant=1.0).fit(np.zeros((2, 1)), [1.0, 1.0])
    save_model(model, tmp_path / "prebuilt", example=pl.DataFrame({"a": [1.0, 2.0]}))
    return tmp_path


def open_client(root: Path) -> Client:
    clock = SystemClock()
    return Client(LocalTransport(open_context(load_project(root).state, user="ann", clock=clock)), clock)


@pytest.mark.parametrize("killed", [False, True])
def test_changed_data_is_trained_on_and_what_passes_is_deployed(root: Path, start_up: StartUp, killed: bool) -> None:
    up = start_up(root).wait_ready()
    with open_client(root) as client:
        up.wait_for((root / ".lockgate" / "triggers.json").exists)
        (root / "rows.csv").write_text("a\n1\n2\n")
        up.wait_for((root / "started").exists)
        if killed:
            up.kill()
            up = start_up(root)
        up.wait_for(lambda: client.registry.get_alias("churn", "staging") == 1)
        (release,) = client.registry.list_releases("churn")
        assert set(release.data) == {"rows"}


def test_data_that_its_contract_refused_is_tried_again_when_the_contract_changes(root: Path, start_up: StartUp) -> None:
    (root / "lockgate.yaml").write_text(YAML.replace("rows.csv}", "rows.csv, contract: contract.yaml}"))
    (root / "contract.yaml").write_text("columns: {a: {type: integer, max: 9}}\n")
    up = start_up(root).wait_ready()
    with open_client(root) as client:
        up.wait_for((root / ".lockgate" / "triggers.json").exists)
        (root / "rows.csv").write_text("a\n1\n20\n")
        up.wait_for(lambda: "the pipeline run ended with exit code 3" in up.log.read_text())
        assert not (root / "started").exists()
        (said,) = (line for line in up.log.read_text().splitlines() if "ended with exit code 3" in line)
        assert "exit code 3: rows.csv breaks its contract contract.yaml: - " in said
        assert said.endswith(f" (see {root / '.lockgate/logs/pipeline.log'})")
        (root / "contract.yaml").write_text("columns: {a: {type: integer, max: 99}}\n")
        up.wait_for(lambda: client.registry.get_alias("churn", "staging") == 1)
    log = up.log.read_text()
    assert log.count("a pipeline run starts: data changed: rows\n") == 1
    assert log.count("a pipeline run starts: data changed: contract of rows\n") == 1
