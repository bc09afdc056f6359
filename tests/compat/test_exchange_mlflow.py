"""A store that a real `mlflow server` made: imported over HTTP and as a file, and exported to another such server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.http import HttpTransport
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.exchange.copy import Report, copy
from lockgate.exchange.destination import AnyServer, Lockgate
from lockgate.exchange.endpoint import Endpoint
from lockgate.wire.mlflow import registry

QUIET = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
FOLDER = """
import os, sys
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])
run = client.create_run(client.create_experiment("old ü"), tags={"note": "kept"}).info
for value in (0.5, float("nan"), float("inf"), 0.5):
    client.log_metric(run.run_id, "loss", value, timestamp=7, step=1)
client.log_text(run.run_id, "hello", "deep/er/a.txt")
client.create_registered_model("churn")
client.create_model_version("churn", run.artifact_uri + "/deep", run.run_id)
"""
# MLflow takes these names, which nobody could ask for in `models:/NAME@ALIAS` and `models:/NAME/VERSION`.
STRANGE = """
import os, sys
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])
for name in ("a\\\\b", "churn", "team@old", "zoo"):
    client.create_registered_model(name)
    client.create_model_version(name, "s3://bucket/" + name[0])
for alias in ("1", "best"):
    client.set_registered_model_alias("churn", alias, "1")
client.create_model_version("zoo", "models:/team@old/1")
client.create_model_version("zoo", "s3://bucket/z3")
client.set_registered_model_alias("zoo", "second", "2")
client.set_registered_model_alias("zoo", "third", "3")
"""
# As mlflow 1.0 left it: before latest_metrics, the registry and most else.
OLD = """
import sys
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine, text
engine, config = create_engine(sys.argv[1]), _get_alembic_config(sys.argv[1])
Base.metadata.create_all(engine)
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, "451aebb31d03")
    connection.execute(text("INSERT INTO experiments VALUES (1, 'old', '/nowhere', 'active')"))
"""
# Three of each kind, in pages of one.
PAGES = """
import os, sys
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow
from msgspec.structs import replace
from lockgate.exchange import answers
from lockgate.exchange.mlflow_store import MlflowStore
from lockgate.wire.mlflow import experiments, logged_models, registry, runs
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])
experiment = client.create_experiment("more")
for number in range(3):
    client.create_run(experiment)
    client.create_logged_model(experiment, name=f"net{number}")
    client.create_registered_model(f"churn{number}")
    client.create_model_version("churn0", "s3://bucket/a")
client.create_experiment("most")
store = MlflowStore(sys.argv[1])
within, order = (experiment,), (logged_models.OrderBy(field_name="creation_timestamp"),)
for rows, operation, request in (
    ("experiments", answers.SEARCH_EXPERIMENTS, experiments.SearchExperiments()),
    ("runs", answers.SEARCH_RUNS, runs.SearchRuns(experiment_ids=within)),
    ("models", answers.SEARCH_LOGGED_MODELS, logged_models.SearchLoggedModels(experiment_ids=within, order_by=order)),
    ("registered_models", answers.SEARCH_MODELS, registry.Search()),
    ("model_versions", answers.SEARCH_VERSIONS, registry.SearchVersions(filter="name = 'churn0'")),
):
    found, request = [], replace(request, max_results=1)
    while not found or request.page_token:
        page = store.call(operation, request)
        found += getattr(page, rows)
        request = replace(request, page_token=page.next_page_token)
    print(rows, len(found), len(set(map(repr, found))))
"""
# The run's row and files are gone, as after `mlflow gc`, and its versions are not.
LOST = """
import os, shutil, sys
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])
run = client.create_run("0").info
client.log_text(run.run_id, "hello", "m/a.txt")
client.create_registered_model("churn")
registry = client._get_registry_client().store
for source in ("mlflow-artifacts:/registered/churn/1", f"runs:/{run.run_id}/m", run.artifact_uri + "/m"):
    registry.create_model_version("churn", source, run.run_id)
client.set_registered_model_alias("churn", "best", "1")
shutil.rmtree(os.path.dirname(mlflow.artifacts.download_artifacts(run.artifact_uri)))
"""


class Quiet:
    def phase(self, text: str) -> None:
        pass

    def advance(self, *, items: int = 1, points: int = 0) -> None:
        pass


def fill(url: str, folder: Path) -> str:
    """The id of the parent run."""
    mlflow = pytest.importorskip("mlflow")
    from mlflow.entities import LoggedModelOutput, Metric

    client: Any = mlflow.MlflowClient(url, url)
    experiment = client.create_experiment("café ☕")
    parent = client.create_run(experiment, run_name="parent").info.run_id
    for start in range(0, 12_000, 1000):
        client.log_batch(parent, metrics=[Metric("loss", i / 7, i, i) for i in range(start, start + 1000)])
    client.log_batch(parent, metrics=[Metric("odd", float("nan"), 1, 0), Metric("odd", float("-inf"), 2, 1)])
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "ü x.txt").write_text("hello")
    client.log_artifacts(parent, str(folder))
    child = client.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id
    model = client.create_logged_model(experiment, name="net", source_run_id=child)
    client.log_outputs(child, [LoggedModelOutput(model.model_id, 0)])
    client.log_metric(child, "acc", 0.5, 7, 0, model_id=model.model_id)
    client.set_terminated(child, "FAILED", end_time=99)
    client.delete_run(client.create_run(experiment).info.run_id)
    client.create_registered_model("churn", {"owner": "ann"}, "who leaves")
    for _ in range(3):
        client.create_model_version("churn", f"models:/{model.model_id}", child, model_id=model.model_id)
    client.delete_model_version("churn", "2")
    client.set_registered_model_alias("churn", "best", 3)
    return str(parent)


def run_copy(source: Endpoint, target: Endpoint, destination: Any, *, with_deleted: bool = True) -> Report:
    return copy(source, target, destination, progress=Quiet(), with_deleted=with_deleted)


@pytest.mark.slow
def test_store_of_a_real_server_comes_in_and_goes_out(
    start_peers: Callable[[int], list[Any]], tmp_path: Path, postgres_url: str
) -> None:
    peers = start_peers(2)
    (first, second), files = (peer.url for peer in peers), peers[0].folder
    parent = fill(first, tmp_path / "logged")
    source, other = (HttpTransport(url, user="ann") for url in (first, second))
    settings = Settings(database=postgres_url)  # and by the command into SQLite, below
    with connect(settings, state=tmp_path / "state", user="ann", clock=SystemClock()) as client:
        here = Endpoint(client.transport, "Lockgate")
        imported = run_copy(Endpoint(source, first), here, Lockgate(client.transport))
        assert imported.is_equal, imported
        assert {count.what: count.source for count in imported.counts}["metric points"] == 12_003
        assert len(client.tracking.metric_history(parent, "loss")) == 12_000
        client.tracking.download_artifact(parent, "a/b/ü x.txt", tmp_path / "copy.txt")
        assert (tmp_path / "copy.txt").read_text() == "hello"
        for _ in range(2):
            exported = run_copy(here, Endpoint(other, second), AnyServer(other))
            assert exported.is_equal, exported
            assert exported.counts == imported.counts
        client.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="team/churn"))
        exported = run_copy(here, Endpoint(other, second), AnyServer(other))
        (line,) = exported.refused
        assert line.startswith("model team/churn: Invalid model name") and "takes no / in a name" in line
        assert ("registered models", 2, 1) in exported.counts
    source.close()
    other.close()
    artifacts = ("--artifacts", f"{files}/files", "--deleted")
    assert import_store(tmp_path / "project", f"sqlite:///{files}/mlflow.db", *artifacts) == {
        count.what: {"source": count.source, "target": count.target} for count in imported.counts
    }


def test_folder_of_runs_comes_in(tmp_path: Path, database_setting: str) -> None:
    pytest.importorskip("mlflow")
    folder = tmp_path / "ml runs"
    subprocess.run([sys.executable, "-c", FOLDER, folder.as_uri()], check=True, cwd=tmp_path, env=QUIET)
    found = import_store(tmp_path / "project", folder.as_uri(), database=database_setting)
    assert {what: count["source"] for what, count in found.items() if count["source"]} == {
        "experiments": 2,
        "runs": 1,
        "tags": 1,
        "metric points": 3,
        "registered models": 1,
        "versions": 1,
        "artifact files": 1,
        "artifact bytes": 5,
    }
    assert all(count["source"] == count["target"] for count in found.values())
    assert sorted(path.name for path in (tmp_path / "project").iterdir()) == [".lockgate", "lockgate.yaml"]


@pytest.mark.slow
def test_database_of_an_old_mlflow_comes_in(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    subprocess.run([sys.executable, "-c", OLD, uri], check=True, cwd=tmp_path, env=QUIET)
    assert import_store(tmp_path / "project", uri)["experiments"] == {"source": 2, "target": 2}  # with Default


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_store_is_read_page_by_page(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("mlflow")
    uri = (tmp_path / "mlruns").as_uri() if kind == "file" else f"sqlite:///{tmp_path}/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-c", PAGES, uri], check=True, cwd=tmp_path, env=QUIET, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.splitlines() == [
        f"{rows} 3 3" for rows in ("experiments", "runs", "models", "registered_models", "model_versions")
    ]


def test_versions_whose_run_is_gone_come_in(tmp_path: Path, database_setting: str) -> None:
    pytest.importorskip("mlflow")
    store = (tmp_path / "mlruns").as_uri()
    subprocess.run([sys.executable, "-c", LOST, store], check=True, cwd=tmp_path, env=QUIET)
    files = tmp_path / "files"
    (files / "registered" / "churn" / "1").mkdir(parents=True)
    (files / "registered" / "churn" / "1" / "MLmodel").write_text("flavors: {}")
    found = import_store(tmp_path / "project", store, "--artifacts", str(files), database=database_setting)
    assert [found[what]["target"] for what in ("runs", "versions", "aliases", "artifact files")] == [0, 3, 1, 1]
    state = tmp_path / "project" / ".lockgate"
    with connect(Settings(database=database_setting), state=state, user="tester", clock=SystemClock()) as client:
        client.transport.get_file("registered/registered/churn/1/MLmodel", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "flavors: {}"


def test_names_that_are_refused_here_are_told_and_the_rest_comes_in(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    store = (tmp_path / "mlruns").as_uri()
    subprocess.run([sys.executable, "-c", STRANGE, store], check=True, cwd=tmp_path, env=QUIET)
    for _ in range(2):  # the same command again neither trips over what came the first time nor forgets what did not
        done = run_import(tmp_path / "project", store)
        assert done.returncode == 1, done.stderr
        report = json.loads(done.stdout)
        assert [line.partition(":")[0] for line in report["refused"]] == [
            "model a\\b",
            "model team@old",
        ]
        assert all(line in done.stderr for line in report["refused"])
        counts = {what: (count["source"], count["target"]) for what, count in report["counts"].items()}
        assert {what: counts[what] for what in ("registered models", "versions", "aliases")} == {
            "registered models": (4, 2),
            "versions": (6, 4),  # that of zoo which was made from one of team@old comes with the files of that
            "aliases": (4, 4),
        }
    state = tmp_path / "project" / ".lockgate"
    with connect(Settings(), state=state, user="tester", clock=SystemClock()) as client:
        assert [model.name for model in client.registry.list_models()] == ["churn", "zoo"]
        assert client.registry.list_aliases("churn") == {"1": 1, "best": 1}
        assert client.registry.list_aliases("zoo") == {"second": 2, "third": 3}


def import_store(project: Path, uri: str, *options: str, database: str = "") -> Any:
    """The counts."""
    done = run_import(project, uri, *options, database=database)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["counts"]


def run_import(project: Path, uri: str, *options: str, database: str = "") -> "subprocess.CompletedProcess[str]":
    """mlflow warns of its own future, so it is read in a process of its own, as a user would."""
    project.mkdir(exist_ok=True)
    (project / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    command = [sys.executable, "-m", "lockgate", "import", "mlflow", uri, "--json", *options]
    environ = {**QUIET, "LOCKGATE_DATABASE": database}
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, env=environ)
