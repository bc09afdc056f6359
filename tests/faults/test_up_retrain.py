"""`lockgate up` answers changed data with a run and a rollout, also when it is killed in the middle of the run."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyRegressor

from lockgate.models.save import save_model
from lockgate.project import load_project

YAML = """\
model: churn
task: regression
data:
  rows: {path: rows.csv}
stages:
  train:
    cmd: touch started && sleep 2 && rm -rf build && mkdir build && cp -r prebuilt build/model && cp rows.csv build/model
    deps: [rows.csv, prebuilt]
    model: build/model
environments:
  staging: {promote: automatic}
retrain: {on: [data], cooldown: 0s}
"""


def helpers() -> ModuleType:
    """The neighbour's helpers; test folders are no packages."""
    name = "test_up_killed_helpers"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("test_up_killed.py"))
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.mark.parametrize("killed", [False, True])
def test_changed_data_is_trained_on_and_what_passes_is_deployed(tmp_path: Path, killed: bool) -> None:
    up_helpers = helpers()
    (tmp_path / "lockgate.yaml").write_text(YAML)
    (tmp_path / "rows.csv").write_text("a\n1\n")
    example = pl.DataFrame({"a": [1.0, 2.0]})
    model = DummyRegressor(strategy="constant", constant=1.0).fit(np.zeros((2, 1)), [1.0, 1.0])
    save_model(model, tmp_path / "prebuilt", example=example)
    folder = load_project(tmp_path)
    up = up_helpers.Up(tmp_path).wait_ready()
    try:
        with up_helpers.open_client(folder) as client:
            up_helpers.wait_for((folder.state / "triggers.json").exists, up.log)
            (tmp_path / "rows.csv").write_text("a\n1\n2\n")
            up_helpers.wait_for((tmp_path / "started").exists, up.log)
            if killed:
                up.kill()
                up = up_helpers.Up(tmp_path).wait_ready()
            up_helpers.wait_for(lambda: client.registry.get_alias("churn", "staging") == 1, up.log)
            (release,) = client.registry.list_releases("churn")
            assert set(release.data) == {"rows"}
    finally:
        up.stop()
