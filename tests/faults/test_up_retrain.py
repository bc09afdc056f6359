"""`lockgate up` answers changed data with a run and a rollout, also when it is killed in the middle of the run."""

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


@pytest.mark.parametrize("killed", [False, True])
def test_changed_data_is_trained_on_and_what_passes_is_deployed(
    tmp_path: Path, start_up: StartUp, killed: bool
) -> None:
    (tmp_path / "lockgate.yaml").write_text(YAML)
    (tmp_path / "rows.csv").write_text("a\n1\n")
    model = DummyRegressor(strategy="constant", constant=1.0).fit(np.zeros((2, 1)), [1.0, 1.0])
    save_model(model, tmp_path / "prebuilt", example=pl.DataFrame({"a": [1.0, 2.0]}))
    state = load_project(tmp_path).state
    clock = SystemClock()
    up = start_up(tmp_path).wait_ready()
    with Client(LocalTransport(open_context(state, user="ann", clock=clock)), clock) as client:
        up.wait_for((state / "triggers.json").exists)
        (tmp_path / "rows.csv").write_text("a\n1\n2\n")
        up.wait_for((tmp_path / "started").exists)
        if killed:
            up.kill()
            up = start_up(tmp_path)
        up.wait_for(lambda: client.registry.get_alias("churn", "staging") == 1)
        (release,) = client.registry.list_releases("churn")
        assert set(release.data) == {"rows"}
