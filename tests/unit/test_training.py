"""A training script that says `import lockgate`, run as a user runs it: in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")

    def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("LOCKGATE_", "MLFLOW_"))}
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**clean, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def records(tmp_path: Path) -> Callable[[], Client]:
    def open_() -> Client:
        return connect(Settings(), state=tmp_path / ".lockgate", user="after", clock=SystemClock())

    return open_


def only_run(client: Client):
    experiment = client.tracking.ensure_experiment("churn")
    (run,) = client.tracking.search_runs([experiment]).runs
    return run


LOGS = """
import lockgate
lockgate.log_param("depth", 3)
lockgate.log_params({"eta": 0.1})
lockgate.log_metric("auc", 0.9)
lockgate.log_metrics({"auc": 0.95, "loss": float("nan")}, step=1)
lockgate.set_tag("team", "crm")
open("notes.txt", "w").write("x")
lockgate.log_artifact("notes.txt", "docs")
"""


def test_script_makes_its_own_run_and_ends_it(script: Script, records) -> None:
    done = script(LOGS)
    assert done.returncode == 0, done.stderr
    with records() as client:
        run = only_run(client)
        assert run.info.status == "FINISHED"
        assert {item.key: item.value for item in run.data.metrics} == {"auc": 0.95, "loss": "NaN"}
        assert {item.key: item.value for item in run.data.params} == {"depth": "3", "eta": "0.1"}
        assert {item.key: item.value for item in run.data.tags}["team"] == "crm"
        assert [item.path for item in client.tracking.list_artifacts(run.info.run_id, "docs")] == ["docs/notes.txt"]


def test_script_that_dies_has_failed(script: Script, records) -> None:
    done = script(LOGS + "raise ValueError('no luck')")
    assert done.returncode == 1
    assert "no luck" in done.stderr
    with records() as client:
        assert only_run(client).info.status == "FAILED"


def test_block_is_one_run(script: Script, records) -> None:
    done = script(
        """
import lockgate
for name in ("a", "b"):
    with lockgate.start_run(name) as run_id:
        lockgate.log_metric("m", 1)
        assert len(run_id) == 32
"""
    )
    assert done.returncode == 0, done.stderr
    with records() as client:
        runs = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert sorted(run.info.run_name for run in runs) == ["a", "b"]


def test_stage_logs_to_the_run_of_its_pipeline(script: Script, tmp_path: Path) -> None:
    context = open_context(tmp_path / "elsewhere", user="server", clock=SystemClock())
    client = Client(LocalTransport(context), SystemClock())
    run_id = client.tracking.create_run("0")
    app = make_app(context)
    with serve_in_thread(app) as server:
        done = script(LOGS, LOCKGATE_URI=server.url, LOCKGATE_RUN_ID=run_id)
        assert done.returncode == 0, done.stderr
        run = client.tracking.get_run(run_id)
    app.close()
    context.close()
    assert run.info.status == "RUNNING"  # the pipeline ends its own run
    assert len(run.data.metrics) == 2
    assert not (tmp_path / ".lockgate").exists()


def test_run_id_without_a_server_is_explained(script: Script) -> None:
    done = script("import lockgate; lockgate.log_metric('m', 1)", LOCKGATE_RUN_ID="a" * 32)
    assert "LOCKGATE_URI" in done.stderr


def test_logged_model_is_written_where_asked_and_noted_on_the_run(script: Script, records, tmp_path: Path) -> None:
    done = script(
        """
import lockgate
import numpy as np
from sklearn.linear_model import LogisticRegression
x = np.random.default_rng(0).normal(size=(50, 3))
model = LogisticRegression().fit(x, x[:, 0] > 0)
print(lockgate.log_model(model, "build/model", data=x[:5]))
"""
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build" / "model" / "MLmodel").is_file()
    with records() as client:
        run = only_run(client)
        assert [item.path for item in client.tracking.list_artifacts(run.info.run_id, "model")] == ["model/MLmodel"]


def test_import_alone_loads_nothing(script: Script) -> None:
    done = script(
        "import sys, lockgate; print(sorted(m for m in sys.modules if m.startswith('lockgate') or m in "
        "('sqlalchemy', 'msgspec', 'numpy', 'polars', 'sklearn', 'starlette', 'click')))"
    )
    assert done.stdout.strip() == "['lockgate']"


def test_unknown_name_is_an_attribute_error(script: Script) -> None:
    assert "has no attribute 'log_everything'" in script("import lockgate; lockgate.log_everything()").stderr
