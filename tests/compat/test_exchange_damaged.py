"""Stores as users really have them: damaged in places, with models that runs have used."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

QUIET = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
# One run for each way, and one that is whole.
DAMAGED = """
import json, sys
from pathlib import Path
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])
experiment = client.create_experiment("e")
ways = {
    "whole": ("tags/note", b"kept"),
    "no value": ("metrics/none", b""),
    "no number": ("metrics/loss", b"garbage"),
    "no text": ("metrics/loss", bytes([255, 254, 0, 10])),
    "huge time": ("metrics/loss", b"99999999999999999999999 1.0 5"),
    "half a step": ("metrics/loss", b"5 1.0 2.5"),
    "param": ("params/p", bytes([255, 254])),
    "no YAML": ("meta.yaml", b"{{{:"),
    "empty": ("meta.yaml", b""),
    "dataset": ("inputs/x/meta.yaml", b"source_id: nope"),
}
ids = {}
for way, (path, data) in ways.items():
    run = client.create_run(experiment, run_name=way).info
    client.log_metric(run.run_id, "loss", 0.5)
    client.set_terminated(run.run_id)
    place = Path(sys.argv[1], experiment, run.run_id, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    ids[way] = run.run_id
print(json.dumps(ids))
"""
USED = """
import sys
import mlflow
from mlflow.entities import LoggedModelInput
client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])
mlflow.set_tracking_uri(sys.argv[1])
experiment = client.create_experiment("e", artifact_location=sys.argv[2])
run = client.create_run(experiment).info.run_id
models = [client.create_logged_model(experiment, name="net").model_id for _ in range(2)]
for model in models:
    client.finalize_logged_model(model, "READY")
client.log_inputs(run, models=[LoggedModelInput(model) for model in models])
client.set_terminated(run)
"""


def test_damaged_runs_are_named_and_the_others_come(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    folder = tmp_path / "mlruns"
    made = subprocess.run(
        [sys.executable, "-c", DAMAGED, folder], check=True, cwd=tmp_path, env=QUIET, stdout=subprocess.PIPE, text=True
    )
    ids = json.loads(made.stdout)
    del ids["whole"]
    for _ in range(2):
        report, code = run_import(tmp_path / "project", str(folder))
        assert code == 1
        assert sorted(line.partition(": the store ")[0] for line in report["refused"]) == sorted(
            f"run {run_id}" for run_id in ids.values()
        )
        assert report["counts"]["runs"] == {"source": 10, "target": 1}
        assert report["counts"]["metric points"] == {"source": 1, "target": 1}


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_models_that_a_run_has_used_come_in(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("mlflow")
    uri = (tmp_path / "mlruns").as_uri() if kind == "file" else f"sqlite:///{tmp_path}/mlflow.db"
    subprocess.run([sys.executable, "-c", USED, uri, tmp_path / "files"], check=True, cwd=tmp_path, env=QUIET)
    for _ in range(2):
        report, code = run_import(tmp_path / "project", uri)
        assert (code, report["counts"]["model links"]) == (0, {"source": 2, "target": 2}), report


def run_import(project: Path, uri: str) -> tuple[Any, int]:
    """The report and the exit code."""
    project.mkdir(exist_ok=True)
    (project / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    command = [sys.executable, "-m", "lockgate", "import", "mlflow", uri, "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, env=QUIET)
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode
