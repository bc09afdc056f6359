"""The released mlflow client tracks runs on our server, unchanged."""

import math
from pathlib import Path

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own warnings are not ours to fix


def test_fluent_run_is_recorded_with_everything_it_logged(client: MlflowClient, tmp_path: Path) -> None:
    experiment = mlflow.set_experiment("churn")
    with mlflow.start_run(run_name="first", description="why", tags={"team": "a"}) as run:
        mlflow.log_param("depth", 3)
        mlflow.log_params({"eta": 0.1, "booster": "tree"})
        mlflow.log_metric("auc", 0.8)
        mlflow.log_metric("auc", 0.9, step=2)
        mlflow.log_metrics({"loss": math.nan, "gain": math.inf}, step=1)
        mlflow.set_tag("stage", "dev")
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "conf.json")
        (tmp_path / "f.bin").write_bytes(b"\0\1" * 100)
        mlflow.log_artifact(tmp_path / "f.bin", "raw")
    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "first"
    assert found.info.experiment_id == experiment.experiment_id
    assert found.data.params == {"depth": "3", "eta": "0.1", "booster": "tree"}
    assert found.data.metrics["auc"] == 0.9
    assert math.isnan(found.data.metrics["loss"])
    assert found.data.metrics["gain"] == math.inf
    assert found.data.tags["team"] == "a"
    assert found.data.tags["stage"] == "dev"
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "auc")] == [(0, 0.8), (2, 0.9)]
    assert sorted(f.path for f in client.list_artifacts(run.info.run_id)) == ["conf.json", "notes", "raw"]
    local = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="raw/f.bin")
    assert Path(local).read_bytes() == b"\0\1" * 100
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/conf.json") == {"a": 1}


def test_figure_is_stored_as_an_image(client: MlflowClient) -> None:
    pyplot = pytest.importorskip("matplotlib.figure")
    figure = pyplot.Figure()
    figure.subplots().plot([1, 2])
    with mlflow.start_run() as run:
        mlflow.log_figure(figure, "plots/line.png")
    local = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="plots/line.png")
    assert Path(local).read_bytes().startswith(b"\x89PNG")


def test_failed_run_says_so(client: MlflowClient) -> None:
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        raise ZeroDivisionError
    assert client.get_run(run.info.run_id).info.status == "FAILED"


def test_run_is_resumed_by_its_id(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    assert run.info.run_id == run_id
    assert client.get_run(run_id).data.metrics == {"m": 1.0}


def test_runs_are_found_by_filter_and_order(client: MlflowClient) -> None:
    experiment = client.create_experiment("search")
    ids = []
    for i in range(5):
        run = client.create_run(experiment, run_name=f"r{i}", tags={"parity": "odd" if i % 2 else "even"})
        client.log_metric(run.info.run_id, "auc", i / 10)
        client.log_param(run.info.run_id, "depth", i)
        client.set_terminated(run.info.run_id)
        ids.append(run.info.run_id)

    def found(filter_: str, order: list[str] | None = None) -> list[str]:
        return [run.info.run_name for run in client.search_runs([experiment], filter_, order_by=order)]

    assert sorted(found("metrics.auc >= 0.2 AND tags.parity = 'even'")) == ["r2", "r4"]
    assert found("params.depth = '3'") == ["r3"]
    assert found("attributes.run_name LIKE 'r%' and status = 'FINISHED'", ["metrics.auc ASC"]) == [
        "r0",
        "r1",
        "r2",
        "r3",
        "r4",
    ]
    assert found(f"run_id IN ('{ids[1]}', '{ids[2]}')", ["params.depth DESC"]) == ["r2", "r1"]
    first = client.search_runs([experiment], max_results=2, order_by=["metrics.auc DESC"])
    second = client.search_runs([experiment], max_results=3, order_by=["metrics.auc DESC"], page_token=first.token)
    assert [run.info.run_name for run in [*first, *second]] == ["r4", "r3", "r2", "r1", "r0"]
    assert not second.token
    frame = mlflow.search_runs([experiment], filter_string="metrics.auc > 0.3")
    assert list(frame["metrics.auc"]) == [0.4]


def test_deleted_runs_and_experiments_come_back(client: MlflowClient) -> None:
    experiment = client.create_experiment("gone")
    run_id = client.create_run(experiment).info.run_id
    client.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert list(client.search_runs([experiment])) == []
    with pytest.raises(MlflowException, match="deleted"):
        client.log_metric(run_id, "m", 1)
    client.restore_run(run_id)
    client.delete_experiment(experiment)
    assert client.get_experiment(experiment).lifecycle_stage == "deleted"
    with pytest.raises(MlflowException):
        client.create_run(experiment)
    client.restore_experiment(experiment)
    client.rename_experiment(experiment, "back")
    client.set_experiment_tag(experiment, "k", "v")
    assert client.get_experiment_by_name("back").tags == {"k": "v"}
    assert [e.name for e in client.search_experiments(filter_string="name LIKE 'ba%'")] == ["back"]


def test_default_experiment_is_there(client: MlflowClient) -> None:
    assert client.get_experiment("0").name == "Default"
    with mlflow.start_run() as run:
        pass
    assert run.info.experiment_id == "0"


def test_param_cannot_change(client: MlflowClient) -> None:
    run_id = client.create_run("0").info.run_id
    client.log_param(run_id, "a", "1")
    client.log_param(run_id, "a", "1")
    with pytest.raises(MlflowException, match="cannot become"):
        client.log_param(run_id, "a", "2")


def test_errors_carry_the_codes_that_clients_test_for(client: MlflowClient) -> None:
    with pytest.raises(MlflowException) as missing:
        client.get_run("nothing")
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.create_experiment("twice")
    with pytest.raises(MlflowException) as again:
        client.create_experiment("twice")
    assert again.value.error_code == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(MlflowException) as unreadable:
        client.search_runs(["0"], "metrics.a >")
    assert unreadable.value.error_code == "INVALID_PARAMETER_VALUE"
    assert client.get_experiment_by_name("nobody") is None


def test_datasets_are_inputs_of_a_run(client: MlflowClient) -> None:
    pandas = pytest.importorskip("pandas")
    dataset = mlflow.data.from_pandas(pandas.DataFrame({"a": [1, 2]}), name="rows", targets=None)
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="training")
    found = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert [(d.dataset.name, d.tags[0].value) for d in found] == [("rows", "training")]
    assert [r.info.run_id for r in client.search_runs(["0"], "dataset.name = 'rows'")] == [run.info.run_id]


def test_batch_is_all_or_nothing(client: MlflowClient) -> None:
    from mlflow.entities import Metric, Param

    run_id = client.create_run("0").info.run_id
    client.log_param(run_id, "a", "1")
    with pytest.raises(MlflowException):
        client.log_batch(run_id, metrics=[Metric("m", 1.0, 1, 0)], params=[Param("a", "2"), Param("b", "1")])
    data = client.get_run(run_id).data
    assert data.metrics == {}
    assert data.params == {"a": "1"}
