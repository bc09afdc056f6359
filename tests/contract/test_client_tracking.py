import math
import os
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.errors import InvalidInput, NotFound
from lockgate.wire.mlflow import logged_models
from lockgate.wire.mlflow.experiments import UPDATE_EXPERIMENT, UpdateExperiment
from lockgate.wire.mlflow.runs import Metric


@pytest.fixture
def run_id(client: Client) -> str:
    return client.tracking.create_run(client.tracking.ensure_experiment("churn"), run_name="first", tags={"a": "1"})


def test_run_has_its_latest_metrics_params_and_tags(client: Client, run_id: str, clock: FakeClock) -> None:
    client.tracking.log_metrics(run_id, {"auc": 0.9, "lost": math.nan, "far": -math.inf}, step=1)
    client.tracking.log_metrics(run_id, {"auc": 0.1})  # an earlier step does not replace a later one
    client.tracking.log_batch(run_id, params={"depth": "3"}, tags={"a": "2", "b": "é"})
    clock.sleep(2)
    client.tracking.finish_run(run_id, "FAILED")
    run = client.tracking.get_run(run_id)
    assert {metric.key: metric.value for metric in run.data.metrics} == {"auc": 0.9, "far": "-Infinity", "lost": "NaN"}
    assert {param.key: param.value for param in run.data.params} == {"depth": "3"}
    assert {tag.key: tag.value for tag in run.data.tags} == {"a": "2", "b": "é", "mlflow.runName": "first"}
    assert run.info.status == "FAILED"
    assert run.info.end_time is not None
    assert run.info.end_time - run.info.start_time == 2000
    assert [metric.value for metric in client.tracking.metric_history(run_id, "auc")] == [0.1, 0.9]


def test_experiment_is_made_once(client: Client) -> None:
    first = client.tracking.ensure_experiment("x")
    assert client.tracking.ensure_experiment("x") == first
    assert sorted(item.name for item in client.tracking.list_experiments()) == ["Default", "x"]


def test_param_keeps_its_value(client: Client, run_id: str) -> None:
    client.tracking.log_batch(run_id, params={"depth": "3"})
    client.tracking.log_batch(run_id, params={"depth": "3"})
    with pytest.raises(InvalidInput, match="cannot become '4'"):
        client.tracking.log_batch(
            run_id, params={"depth": "4", "other": "1"}, metrics=[Metric(key="m", value=1.0, timestamp=1)]
        )
    data = client.tracking.get_run(run_id).data
    assert len(data.params) == 1
    assert data.metrics == ()


def test_large_batch_is_sent_in_parts(client: Client, run_id: str) -> None:
    metrics = [Metric(key=f"m{i}", value=float(i), timestamp=1, step=0) for i in range(2500)]
    client.tracking.log_batch(run_id, metrics=metrics, params={f"p{i}": str(i) for i in range(250)})
    data = client.tracking.get_run(run_id).data
    assert (len(data.metrics), len(data.params)) == (2500, 250)


def test_same_metric_again_is_one_point(client: Client, run_id: str) -> None:
    point = Metric(key="m", value=1.0, timestamp=7, step=0)
    client.tracking.log_batch(run_id, metrics=[point, point])
    client.tracking.log_batch(run_id, metrics=[point])
    assert len(client.tracking.metric_history(run_id, "m")) == 1


def test_runs_are_searched_by_page(client: Client) -> None:
    experiment = client.tracking.ensure_experiment("many")
    for i in range(5):
        run = client.tracking.create_run(experiment, run_name=f"r{i}")
        client.tracking.log_metrics(run, {"auc": i / 10})
    page = client.tracking.search_runs([experiment], filter="metrics.auc > 0", order_by=["metrics.auc"], max_results=3)
    rest = client.tracking.search_runs(
        [experiment],
        filter="metrics.auc > 0",
        order_by=["metrics.auc"],
        max_results=3,
        page_token=page.next_page_token,
    )
    assert [run.info.run_name for run in (*page.runs, *rest.runs)] == ["r1", "r2", "r3", "r4"]
    assert rest.next_page_token == ""


def test_files_go_in_and_come_out(client: Client, run_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (folder / "deep").mkdir(parents=True)
    (folder / "a b.txt").write_text("é")
    (folder / "deep" / "x.bin").write_bytes(bytes(range(256)) * 8192)  # two pieces
    client.tracking.upload_artifact(run_id, folder, "out")
    client.tracking.upload_artifact(run_id, folder / "a b.txt")
    assert [(item.path, item.is_dir) for item in client.tracking.list_artifacts(run_id)] == [
        ("a b.txt", False),
        ("out", True),
    ]
    assert [item.path for item in client.tracking.list_artifacts(run_id, "out")] == ["out/a b.txt", "out/deep"]
    client.tracking.download_artifact(run_id, "out", tmp_path / "back")
    assert (tmp_path / "back" / "a b.txt").read_text() == "é"
    assert (tmp_path / "back" / "deep" / "x.bin").read_bytes() == (folder / "deep" / "x.bin").read_bytes()
    client.tracking.download_artifact(run_id, "a b.txt", tmp_path / "one.txt")
    assert (tmp_path / "one.txt").read_text() == "é"
    with pytest.raises(NotFound):
        client.tracking.download_artifact(run_id, "nothing", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_links_to_files_are_followed_and_what_is_left_out_is_named(
    client: Client, run_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoints"
    (folder / "step_100").mkdir(parents=True)
    (folder / "step_100" / "weights").write_text("x")
    (folder / "best").symlink_to("step_100/weights")
    (folder / "latest").symlink_to("step_100")
    (folder / "broken").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    client.tracking.upload_artifact(run_id, folder)
    assert [item.path for item in client.tracking.list_artifacts(run_id)] == ["best", "step_100"]
    (record,) = [record for record in caplog.records if record.name == "lockgate.client"]
    assert record.message.endswith(": 'broken'; 'latest'; 'pipe'")


def test_name_that_is_refused_keeps_back_nothing_else_of_its_folder(
    client: Client, run_id: str, tmp_path: Path
) -> None:
    folder = tmp_path / "plots"
    folder.mkdir()
    for name in ("a", "b\\c", "caf\udce9", "z"):
        (folder / name).write_text("x")
    with pytest.raises(InvalidInput, match="was stored but 2: ") as error:
        client.tracking.upload_artifact(run_id, folder)
    assert repr("b\\c") in error.value.message and repr("caf\udce9") in error.value.message
    assert [item.path for item in client.tracking.list_artifacts(run_id)] == ["a", "z"]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc", "a\\b", "//a", "C:/x", "a/\0"])
def test_path_that_leaves_the_run_is_refused(client: Client, run_id: str, tmp_path: Path, path: str) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(InvalidInput):
        client.transport.put_file(path, tmp_path / "f")
    with pytest.raises(InvalidInput):
        client.transport.get_file(path, tmp_path / "target")
    with pytest.raises(InvalidInput):
        client.tracking.list_artifacts(run_id, path)


def test_missing_run_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="Run with id=nothing not found"):
        client.tracking.get_run("nothing")
    with pytest.raises(NotFound):
        client.tracking.log_metrics("nothing", {"a": 1})


def test_logged_models_of_a_run_are_listed_newest_first(
    client: Client, run_id: str, clock: FakeClock, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        request = logged_models.CreateLoggedModel(experiment_id="0", name=name, source_run_id=run_id)
        client.transport.call(logged_models.CREATE_LOGGED_MODEL, request)
        clock.sleep(1)
    found = client.tracking.list_logged_models(run_id)
    assert [item.info.name for item in found] == ["new", "old"]
    (tmp_path / "MLmodel").write_text("flavors: {}")
    root = found[0].info.artifact_uri.removeprefix("mlflow-artifacts:/")
    client.transport.put_file(f"{root}/MLmodel", tmp_path / "MLmodel")
    client.tracking.download_logged_model(found[0], tmp_path / "model")
    assert (tmp_path / "model" / "MLmodel").read_text() == "flavors: {}"


def test_run_is_begun_once_however_often_it_is_said(client: Client) -> None:
    run_id = "0123456789abcdef" * 2
    for name in ("first", "again"):
        client.tracking.begin_run(run_id, experiment="churn", run_name=name, at=5)
    info = client.tracking.get_run(run_id).info
    assert (info.run_name, info.start_time, info.status) == ("first", 5, "RUNNING")
    assert info.experiment_id == client.tracking.ensure_experiment("churn")


def test_run_is_begun_whatever_its_experiment_is_called_by_now(client: Client) -> None:
    run_id = "0123456789abcdef" * 2
    client.tracking.begin_run(run_id, experiment="churn", run_name="", at=5)
    number = client.tracking.get_run(run_id).info.experiment_id
    client.transport.call(UPDATE_EXPERIMENT, UpdateExperiment(experiment_id=number, new_name="churn-2024"))
    client.tracking.begin_run(run_id, experiment="churn", run_name="", at=5)
    assert client.tracking.get_run(run_id).info.experiment_id == number
    assert sorted(item.name for item in client.tracking.list_experiments()) == ["Default", "churn-2024"]


@pytest.mark.parametrize("run_id", ["../up", "models", "A" * 32, "a" * 31, ""])
def test_id_of_a_run_that_begins_is_one_of_those_that_are_made(client: Client, run_id: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be an id"):
        client.tracking.begin_run(run_id, experiment="churn", run_name="", at=5)
