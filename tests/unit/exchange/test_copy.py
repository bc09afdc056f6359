from pathlib import Path
from threading import Lock
from time import sleep
from typing import Any

import pytest
from msgspec.structs import replace

from lockgate.client.client import Client
from lockgate.errors import (
    AlreadyExists,
    Conflict,
    GateFailed,
    InvalidInput,
    LockgateError,
    PermissionDenied,
    Unavailable,
)
from lockgate.exchange import answers, marks
from lockgate.exchange.copy import Report
from lockgate.wire.adoption import ADOPT_VERSION
from lockgate.wire.mlflow import artifacts, experiments, logged_models, registry, runs
from lockgate.wire.mlflow.experiments import Tag

SOME = "café ☕"


def counts(report: Report) -> dict[str, tuple[int, int]]:
    return {count.what: (count.source, count.target) for count in report.counts}


def copied_runs(client: Client, name: str = SOME) -> dict[str, runs.Run]:
    """By name."""
    experiment = client.tracking.ensure_experiment(name)
    request = runs.SearchRuns(experiment_ids=(experiment,), run_view_type="ALL")
    found = client.transport.call(runs.SEARCH_RUNS, request).runs
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found), "a double"
    return by_name


def tags_of(run: runs.Run) -> dict[str, str]:
    return {tag.key: tag.value for tag in run.data.tags}


def history(client: Client, run_id: str, key: str) -> list[tuple[Any, int, int | None]]:
    return [(point.value, point.timestamp, point.step) for point in client.tracking.metric_history(run_id, key)]


def versions(client: Client, name: str) -> dict[str, registry.ModelVersion]:
    request = registry.SearchVersions(filter=f"name='{name}'")
    return {found.version: found for found in client.transport.call(registry.SEARCH_VERSIONS, request).model_versions}


def test_all_counts_are_equal_and_as_expected(sides: Any, filled: Any) -> None:
    report = sides.copy()
    assert report.is_equal, report
    found = {what: source for what, (source, _) in counts(report).items()}
    assert found == {
        "experiments": 2,  # with Default
        "runs": 2,
        "params": 3,
        "tags": 12,
        "metric points": 6,
        "datasets": 1,
        "logged models": 1,
        "model metrics": 1,
        "model links": 1,
        "registered models": 3,
        "versions": 4,
        "aliases": 1,
        "artifact files": 3,
        "artifact bytes": 5 + 256 * 5000 + 12,
    }


def test_runs_come_with_all_they_logged(sides: Any, filled: Any, tmp_path: Path) -> None:
    sides.copy()
    parent, child = (copied_runs(sides.target)[name] for name in ("parent", "child"))
    before = sides.source.tracking.get_run(filled.child)
    assert (child.info.status, child.info.end_time) == ("FAILED", 1_700_000_000_000)
    assert (child.info.start_time, child.info.user_id) == (before.info.start_time, before.info.user_id)
    assert child.inputs.dataset_inputs == before.inputs.dataset_inputs
    assert history(sides.target, parent.info.run_id, "odd") == history(sides.source, filled.parent, "odd")
    assert {param.key: param.value for param in parent.data.params} == {"depth": "3", "empty": ""}
    assert tags_of(parent)["note"] == "größer"
    sides.target.tracking.download_artifact(parent.info.run_id, "deep/er/ü x.txt", tmp_path / "copy.txt")
    assert (tmp_path / "copy.txt").read_text() == "hello"


def test_run_that_goes_on_keeps_an_end_that_it_had(sides: Any, filled: Any) -> None:
    """MLflow's clients leave it where an ended run is taken up again."""

    def change(operation: Any, request: Any, answer: Any) -> Any:
        if operation.name != answers.SEARCH_RUNS.name:
            return answer
        pages = (replace(run, info=replace(run.info, status="RUNNING", end_time=5)) for run in answer.runs)
        return replace(answer, runs=tuple(pages))

    for _ in range(2):
        sides.copy(change=change)
        child = copied_runs(sides.target)["child"].info
        assert (child.status, child.end_time) == ("RUNNING", 5)


def test_references_lead_to_the_copies(sides: Any, filled: Any) -> None:
    sides.copy()
    parent, child = (copied_runs(sides.target)[name] for name in ("parent", "child"))
    assert tags_of(child)["mlflow.parentRunId"] == parent.info.run_id
    assert child.outputs is not None
    (output,) = child.outputs.model_outputs
    request = logged_models.GetLoggedModel(model_id=output.model_id)
    model = sides.target.transport.call(logged_models.GET_LOGGED_MODEL, request).model
    assert (model.info.source_run_id, model.info.status) == (child.info.run_id, "LOGGED_MODEL_READY")
    measured = {(metric.key, metric.value, metric.dataset_name, metric.run_id) for metric in model.data.metrics}
    assert measured == {("acc", 0.75, "rows", child.info.run_id)}
    churn = versions(sides.target, "churn")
    assert set(churn) == {"1", "3"}  # the gap stays a gap
    assert churn["1"].source == f"models:/{model.info.model_id}"
    assert churn["3"].source == f"runs:/{parent.info.run_id}/deep"
    assert sides.target.registry.list_aliases("churn") == {"best": 3}
    assert versions(sides.target, "archive")["1"].source == "models:/churn/3"


def test_import_keeps_ids_and_export_says_where_each_is_from(sides: Any, filled: Any) -> None:
    sides.copy()
    child = copied_runs(sides.target)["child"]
    assert (child.info.run_id == filled.child) == (sides.way == "import")
    assert tags_of(child)[marks.ORIGIN] == filled.child


def test_again_copies_nothing_twice_and_brings_what_is_new(sides: Any, filled: Any) -> None:
    first = sides.copy()
    before = copied_runs(sides.target)
    assert sides.copy() == first
    sides.source.tracking.log_batch(filled.parent, metrics=[runs.Metric(key="odd", value=2.0, timestamp=6, step=9)])
    experiment = sides.source.tracking.ensure_experiment(SOME)
    sides.source.tracking.create_run(experiment, run_name="new")
    again = sides.copy()
    assert again.is_equal
    assert counts(again)["runs"] == (3, 3)
    assert counts(again)["metric points"] == (7, 7)
    after = copied_runs(sides.target)
    assert {name: after[name].info.run_id for name in before} == {n: run.info.run_id for n, run in before.items()}


def test_what_is_deleted_comes_only_when_it_is_asked_for(sides: Any, filled: Any) -> None:
    sides.copy()
    assert "deleted" not in copied_runs(sides.target)
    for _ in range(2):  # the second time everything is there and deleted
        report = sides.copy(with_deleted=True)
        assert report.is_equal, report
        assert counts(report)["experiments"] == (3, 3)
        assert counts(report)["runs"] == (4, 4)
        run = copied_runs(sides.target)["deleted"]
        assert run.info.lifecycle_stage == "deleted"
        assert len(history(sides.target, run.info.run_id, "m")) == 1
        name = experiments.ExperimentName(experiment_name="gone")
        gone = sides.target.transport.call(experiments.GET_EXPERIMENT_BY_NAME, name).experiment
        assert gone.lifecycle_stage == "deleted"


def test_deleted_run_that_a_version_was_made_from_comes_anyway(sides: Any, filled: Any) -> None:
    sides.source.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=filled.parent))
    report = sides.copy()
    assert report.is_equal, report
    assert copied_runs(sides.target)["parent"].info.lifecycle_stage == "deleted"
    assert set(versions(sides.target, "churn")) == {"1", "3"}


def test_long_history_comes_whole(sides: Any, filled: Any) -> None:
    run_id = sides.source.tracking.create_run(filled.experiment, run_name="long")
    points = [runs.Metric(key="loss", value=step / 7, timestamp=step, step=step) for step in range(26_000)]
    sides.source.tracking.log_batch(run_id, metrics=points)
    report = sides.copy()
    assert report.is_equal
    copied = copied_runs(sides.target)["long"].info.run_id
    assert history(sides.target, copied, "loss") == history(sides.source, run_id, "loss")


def test_value_that_the_source_tells_twice_is_one(sides: Any, filled: Any) -> None:
    """As MLflow's server does for folders of runs."""

    def change(operation: Any, request: Any, answer: Any) -> Any:
        if operation.name != runs.METRIC_HISTORY.name or not answer.metrics:
            return answer
        return replace(answer, metrics=(*answer.metrics, *answer.metrics))

    for _ in range(2):
        report = sides.copy(change=change)
        assert report.is_equal, report
        assert counts(report)["metric points"] == (6, 6)
    assert history(sides.target, copied_runs(sides.target)["parent"].info.run_id, "odd") == history(
        sides.source, filled.parent, "odd"
    )


@pytest.mark.parametrize("kind", ["experiment", "model"])
def test_name_of_somebody_else_is_a_conflict_that_a_prefix_solves(sides: Any, filled: Any, kind: str) -> None:
    if kind == "experiment":
        own = sides.target.tracking.ensure_experiment(SOME)
        sides.target.tracking.create_run(own, run_name="mine")
    else:
        sides.target.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="churn"))
    with pytest.raises(Conflict, match="no copy of this one") as caught:
        sides.copy()
    assert "--prefix" in str(caught.value)
    assert sides.copy(prefix="old/").is_equal
    assert set(copied_runs(sides.target, f"old/{SOME}")) == {"parent", "child"}
    assert versions(sides.target, "old/archive")["1"].source == "models:/old/churn/3"


def test_all_names_that_something_else_has_are_told_before_anything_is_written(sides: Any, filled: Any) -> None:
    sides.target.tracking.create_run(sides.target.tracking.ensure_experiment(SOME))
    for name in ("churn", "greeting"):
        sides.target.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name=name))
    with pytest.raises(Conflict) as caught:
        sides.copy()
    assert f"experiment '{SOME}', registered model 'churn', registered model 'greeting'." in str(caught.value)
    found = sides.target.transport.call(experiments.SEARCH_EXPERIMENTS, experiments.SearchExperiments()).experiments
    assert not any(experiment.tags for experiment in found)
    assert [model.name for model in sides.target.registry.list_models()] == ["churn", "greeting"]


def test_names_that_are_taken_after_a_first_copy_are_refused_and_the_rest_comes(sides: Any, filled: Any) -> None:
    sides.copy()
    for client in (sides.source, sides.target):
        client.tracking.create_run(client.tracking.ensure_experiment("later"))
        client.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="boiler"))
    sides.source.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="zeta"))
    sides.source.tracking.create_run(filled.experiment, run_name="new")
    report = sides.copy()
    assert [line.partition(":")[0] for line in report.refused] == ["experiment later", "model boiler"]
    assert counts(report)["experiments"] == (3, 2)
    assert set(copied_runs(sides.target)) == {"parent", "child", "new"}
    names = [model.name for model in sides.target.registry.list_models()]
    assert names == ["archive", "boiler", "churn", "greeting", "zeta"]


def test_default_with_runs_of_its_own_is_not_mixed(sides: Any, filled: Any) -> None:
    sides.target.tracking.create_run("0")
    with pytest.raises(Conflict, match="'Default'"):
        sides.copy()


def test_imported_runs_are_not_imported_a_second_time_under_another_name(sides: Any, filled: Any) -> None:
    sides.copy()
    if sides.way == "export":
        assert sides.copy(prefix="again/").is_equal
        return
    with pytest.raises(AlreadyExists, match="is here already"):
        sides.copy(prefix="again/")


def test_difference_is_seen(sides: Any, filled: Any) -> None:
    """What somebody takes away at the target between two copies is missing in the count."""
    sides.copy()
    parent = copied_runs(sides.target)["parent"].info
    request = runs.DeleteRunTag(run_id=parent.run_id, key="note")
    sides.target.transport.call(runs.DELETE_RUN_TAG, request)
    report = sides.copy()
    tags = counts(report)["tags"]
    # a run that still goes on is copied again each time, with its tags; the finished one is not
    assert report.is_equal and tags == (12, 12)
    child = copied_runs(sides.target)["child"].info
    sides.target.transport.call(runs.DELETE_RUN_TAG, runs.DeleteRunTag(run_id=child.run_id, key="fold"))
    report = sides.copy()
    assert not report.is_equal
    assert counts(report)["tags"] == (12, 11)


def test_what_the_target_refuses_is_named_and_the_rest_comes(sides: Any, filled: Any) -> None:
    """Versions of a logged model that had no files and is deleted at the source have nothing to be made from."""
    call = sides.source.transport.call
    create = logged_models.CreateLoggedModel(experiment_id=filled.experiment, name="empty")
    model_id = call(logged_models.CREATE_LOGGED_MODEL, create).model.info.model_id
    for name in ("archive", "churn"):
        request = registry.CreateVersion(name=name, source=f"models:/{model_id}", model_id=model_id)
        call(registry.CREATE_VERSION, request)
    alias = registry.SetModelAlias(name="churn", alias="first", version="4")
    call(registry.SET_MODEL_ALIAS, alias)
    call(logged_models.DELETE_LOGGED_MODEL, logged_models.OneLoggedModel(model_id=model_id))
    report = sides.copy()
    assert not report.is_equal
    assert sorted(line.partition(":")[0] for line in report.refused) == [
        "alias first of churn",
        "version 2 of archive",
        "version 4 of churn",
    ]
    assert (counts(report)["versions"], counts(report)["aliases"]) == ((6, 4), (2, 1))
    assert set(versions(sides.target, "churn")) == {"1", "3"}


def test_version_comes_with_its_files_when_what_it_was_made_from_is_deleted(
    sides: Any, filled: Any, tmp_path: Path
) -> None:
    call = sides.source.transport.call
    call(logged_models.DELETE_LOGGED_MODEL, logged_models.OneLoggedModel(model_id=filled.logged_model))
    call(registry.CREATE_VERSION, registry.CreateVersion(name="archive", source="models:/churn/1"))
    call(registry.DELETE_VERSION, registry.OneModelVersion(name="churn", version="1"))
    report = sides.copy()
    assert report.is_equal, report
    place = versions(sides.target, "archive")["2"].source
    assert place.startswith("mlflow-artifacts:/")
    sides.target.transport.get_file(f"{place.removeprefix('mlflow-artifacts:/')}/MLmodel", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "flavors: {}\n"


def test_version_whose_run_is_gone_comes_in_with_its_files_and_is_named_where_it_cannot_go_out(
    sides: Any, filled: Any, tmp_path: Path
) -> None:
    gone = "0123456789abcdef0123456789abcdef"
    (tmp_path / "model").write_text("weights")
    sides.source.transport.put_file("registered/old/7/model", tmp_path / "model")
    for source in ("mlflow-artifacts:/registered/old/7", f"runs:/{gone}/m", "/home/ann/mlruns/m"):
        request = registry.CreateVersion(name="archive", source=source, run_id=gone)
        sides.source.transport.call(ADOPT_VERSION, request)
    for _ in range(2):
        report = sides.copy()
        if sides.way == "export":
            refused = [line.partition(":")[0] for line in report.refused]
            assert refused == [f"version {number} of archive" for number in (2, 3, 4)]
            assert counts(report)["versions"] == (7, 4)
            continue
        assert report.is_equal, report
        archive = versions(sides.target, "archive")
        place = "registered/registered/archive/2"
        assert [(archive[number].source, archive[number].run_id) for number in "234"] == [
            (f"mlflow-artifacts:/{place}", gone),
            (f"runs:/{gone}/m", gone),
            ("/home/ann/mlruns/m", gone),
        ]
        sides.target.transport.get_file(f"{place}/model", tmp_path / "copy")
        assert (tmp_path / "copy").read_text() == "weights"


def test_run_whose_copy_was_deleted_is_named_and_missing_in_the_table(sides: Any, filled: Any) -> None:
    sides.copy()
    child = copied_runs(sides.target)["child"].info.run_id
    sides.target.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=child))
    report = sides.copy()
    assert report.refused[0].startswith(f"run {filled.child}: its copy {child} was deleted")
    assert (counts(report)["runs"], counts(report)["datasets"]) == ((2, 1), (1, 0))


def test_experiment_whose_name_gets_too_long_is_named_and_the_rest_comes(sides: Any, filled: Any) -> None:
    name = "n" * 500
    experiment = sides.source.tracking.ensure_experiment(name)
    sides.source.tracking.create_run(experiment)
    request = logged_models.CreateLoggedModel(experiment_id=experiment, name="net")
    sides.source.transport.call(logged_models.CREATE_LOGGED_MODEL, request)
    report = sides.copy(prefix="old/")
    (line,) = report.refused
    assert line.startswith(f"experiment {name}: 'name' exceeds the maximum length")
    found = counts(report)
    assert (found["experiments"], found["runs"], found["logged models"]) == ((3, 2), (3, 2), (2, 1))
    assert set(copied_runs(sides.target, f"old/{SOME}")) == {"parent", "child"}
    assert set(versions(sides.target, "old/churn")) == {"1", "3"}


def test_refused_model_in_a_folder_is_told_what_mlflow_takes(sides: Any, filled: Any) -> None:
    name = "team/" + "n" * 250
    sides.source.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name=name))
    (line,) = sides.copy(prefix="old").refused
    assert line.startswith(f"model {name}: ")
    assert ("next: MLflow's registry takes no /" in line) == (sides.way == "export")


def test_stages_and_later_changes_of_the_registry_follow(sides: Any, filled: Any) -> None:
    sides.copy()
    call = sides.source.transport.call
    call(registry.TRANSITION_STAGE, registry.TransitionStage(name="churn", version="3", stage="Staging"))
    call(registry.SET_MODEL_ALIAS, registry.SetModelAlias(name="churn", alias="best", version="1"))
    call(registry.UPDATE_VERSION, registry.UpdateVersion(name="churn", version="1", description="better"))
    call(registry.SET_MODEL_TAG, registry.SetModelTag(name="churn", key="owner", value="bob"))
    assert sides.copy().is_equal
    churn = versions(sides.target, "churn")
    assert (churn["3"].current_stage, churn["1"].description) == ("Staging", "better")
    assert sides.target.registry.list_aliases("churn") == {"best": 1}
    model = sides.target.transport.call(registry.GET_MODEL, registry.ModelName(name="churn")).registered_model
    assert Tag(key="owner", value="bob") in model.tags


def test_file_that_cannot_be_read_is_named_and_the_rest_of_the_run_comes(sides: Any, filled: Any) -> None:
    def change(operation: Any, request: Any, answer: Any) -> Any:
        if operation.name != answers.LIST_FILES.name or not request.path.endswith(f"{filled.child}/artifacts"):
            return answer
        gone = artifacts.FileInfo(path="gone.txt", is_dir=False, file_size=3)
        return replace(answer, files=(gone, *answer.files))

    report = sides.copy(change=change)
    (line,) = report.refused
    assert line.startswith(f"run {filled.child}: file gone.txt: ")
    assert (counts(report)["runs"], counts(report)["artifact files"]) == ((2, 2), (4, 3))
    child = copied_runs(sides.target)["child"]
    assert (child.info.status, child.info.end_time) == ("FAILED", 1_700_000_000_000)
    assert sides.copy().is_equal  # what was incomplete is copied again


def test_param_that_is_refused_is_named_and_the_others_come(sides: Any, filled: Any) -> None:
    def change(operation: Any, request: Any, answer: Any) -> Any:
        if operation.name != answers.SEARCH_RUNS.name:
            return answer
        nul = Tag(key="nul", value="a\0b")
        pages = (replace(run, data=replace(run.data, params=(nul, *run.data.params))) for run in answer.runs)
        return replace(answer, runs=tuple(pages))

    report = sides.copy(change=change)
    assert all(": param 'nul': " in line for line in report.refused) and len(report.refused) == 2
    found = copied_runs(sides.target)
    assert {param.key: param.value for param in found["parent"].data.params} == {"depth": "3", "empty": ""}
    assert (found["child"].info.status, len(found["child"].inputs.dataset_inputs)) == ("FAILED", 1)


def test_nan_of_a_model_that_mlflow_keeps_as_zero_stays_nan(sides: Any, filled: Any) -> None:
    measured = runs.Metric(key="auc", value="NaN", timestamp=9, step=1, model_id=filled.logged_model)
    sides.source.tracking.log_batch(filled.child, metrics=[measured])

    def change(operation: Any, request: Any, answer: Any) -> Any:
        if operation.name != answers.SEARCH_LOGGED_MODELS.name:
            return answer

        def as_mlflow(model: Any) -> Any:
            metrics = (replace(m, value=0.0) if m.key == "auc" else m for m in model.data.metrics)
            return replace(model, data=replace(model.data, metrics=tuple(metrics)))

        return replace(answer, models=tuple(map(as_mlflow, answer.models)))

    report = sides.copy(change=change)
    assert report.is_equal, report
    child = copied_runs(sides.target)["child"].info.run_id
    assert history(sides.target, child, "auc") == [("NaN", 9, 1)]


def test_experiment_that_is_renamed_at_the_source_is_renamed_and_not_doubled(sides: Any, filled: Any) -> None:
    sides.copy()
    before = {name: run.info.run_id for name, run in copied_runs(sides.target).items()}
    rename = experiments.UpdateExperiment(experiment_id=filled.experiment, new_name="tea")
    sides.source.transport.call(experiments.UPDATE_EXPERIMENT, rename)
    report = sides.copy()
    assert report.is_equal, report
    assert {name: run.info.run_id for name, run in copied_runs(sides.target, "tea").items()} == before
    found = sides.target.transport.call(experiments.SEARCH_EXPERIMENTS, experiments.SearchExperiments()).experiments
    assert {experiment.name for experiment in found} == {"Default", "tea"}


def test_experiment_that_is_restored_at_the_source_is_restored(sides: Any, filled: Any) -> None:
    sides.copy(with_deleted=True)
    name = experiments.ExperimentName(experiment_name="gone")
    gone = sides.source.transport.call(experiments.GET_EXPERIMENT_BY_NAME, name).experiment.experiment_id
    sides.source.transport.call(experiments.RESTORE_EXPERIMENT, experiments.ExperimentId(experiment_id=gone))
    for _ in range(2):
        report = sides.copy(with_deleted=True)
        assert report.is_equal, report
        copied = sides.target.transport.call(experiments.GET_EXPERIMENT_BY_NAME, name).experiment
        assert copied.lifecycle_stage == "active"
    sides.target.transport.call(
        experiments.DELETE_EXPERIMENT, experiments.ExperimentId(experiment_id=copied.experiment_id)
    )
    (line,) = sides.copy(with_deleted=True).refused  # by somebody at the target
    assert line.startswith("experiment gone: its copy was deleted at the target")


def test_new_name_of_a_run_and_end_of_a_stage_follow(sides: Any, filled: Any) -> None:
    call = sides.source.transport.call
    call(registry.TRANSITION_STAGE, registry.TransitionStage(name="churn", version="3", stage="Archived"))
    sides.copy()
    assert versions(sides.target, "churn")["3"].current_stage == "Archived"
    call(runs.UPDATE_RUN, runs.UpdateRun(run_id=filled.child, run_name="renamed"))
    call(registry.TRANSITION_STAGE, registry.TransitionStage(name="churn", version="3", stage="None"))
    assert sides.copy().is_equal
    assert set(copied_runs(sides.target)) == {"parent", "renamed"}
    assert versions(sides.target, "churn")["3"].current_stage == "None"


def test_files_that_are_lost_at_the_target_come_again_with_the_same_command(sides: Any, filled: Any) -> None:
    sides.source.tracking.finish_run(filled.parent)
    sides.copy()
    root = copied_runs(sides.target)["parent"].info.artifact_uri.removeprefix("mlflow-artifacts:/")
    request = artifacts.OneArtifact(artifact_path=f"{root}/top.bin")
    sides.target.transport.call(artifacts.DELETE_PROXY, request)
    assert counts(sides.copy())["artifact files"] == (3, 2)
    assert sides.copy().is_equal


def test_model_with_both_quotes_in_its_name_comes(sides: Any, filled: Any) -> None:
    for name in ("both ' and \"", "both ' and x"):
        sides.source.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name=name))
        request = registry.CreateVersion(name=name, source="s3://bucket/m")
        sides.source.transport.call(registry.CREATE_VERSION, request)
    report = sides.copy()
    assert report.is_equal, report
    assert counts(report)["versions"] == (6, 6)


def test_model_that_is_renamed_at_the_source_is_renamed_and_not_doubled(sides: Any, filled: Any) -> None:
    sides.copy()
    sides.source.transport.call(registry.RENAME_MODEL, registry.RenameModel(name="churn", new_name="leavers"))
    for _ in range(2):
        report = sides.copy()
        assert report.is_equal, report
        assert [model.name for model in sides.target.registry.list_models()] == ["archive", "greeting", "leavers"]
        assert set(versions(sides.target, "leavers")) == {"1", "3"}
        assert sides.target.registry.list_aliases("leavers") == {"best": 3}


def test_alias_that_is_deleted_at_the_source_goes_and_one_of_the_target_stays(sides: Any, filled: Any) -> None:
    sides.copy()
    own = registry.SetModelAlias(name="churn", alias="mine", version="1")
    sides.target.transport.call(registry.SET_MODEL_ALIAS, own)
    sides.source.transport.call(registry.DELETE_MODEL_ALIAS, registry.OneAlias(name="churn", alias="best"))
    report = sides.copy()
    assert counts(report)["aliases"] == (0, 1)
    assert sides.target.registry.list_aliases("churn") == {"mine": 1}


@pytest.mark.parametrize("number", ["1", "3"])
def test_version_that_was_deleted_at_the_target_is_refused_and_nothing_is_made_for_it(
    sides: Any, filled: Any, number: str
) -> None:
    sides.copy()
    kept = {"1": "3", "3": "1"}[number]
    sides.target.transport.call(registry.DELETE_VERSION, registry.OneModelVersion(name="churn", version=number))
    for _ in range(2):
        report = sides.copy()
        assert report.refused[0].startswith(f"version {number} of churn: it cannot be made any more")
        assert set(versions(sides.target, "churn")) == {kept}
    request = registry.CreateVersion(name="churn", source=f"runs:/{filled.parent}/deep", run_id=filled.parent)
    sides.source.transport.call(registry.CREATE_VERSION, request)
    report = sides.copy()
    assert set(versions(sides.target, "churn")) == {kept, "4"}


def test_version_number_that_the_target_has_given_itself_is_refused_and_later_models_come(
    sides: Any, filled: Any
) -> None:
    sides.copy()
    own = copied_runs(sides.target)["parent"].info.run_id
    for client, run_id in ((sides.source, filled.parent), (sides.target, own)):
        request = registry.CreateVersion(name="churn", source=f"runs:/{run_id}/deep", run_id=run_id)
        client.transport.call(registry.CREATE_VERSION, request)
    for alias, number in (("newest", "4"), ("oldest", "1")):
        request = registry.SetModelAlias(name="churn", alias=alias, version=number)
        sides.source.transport.call(registry.SET_MODEL_ALIAS, request)
    sides.source.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="zeta"))
    report = sides.copy()
    assert [line.partition(":")[0] for line in report.refused] == ["version 4 of churn", "alias newest of churn"]
    assert sides.target.registry.list_aliases("churn") == {"best": 3, "oldest": 1}
    assert "zeta" in [model.name for model in sides.target.registry.list_models()]
    sides.target.transport.call(registry.DELETE_VERSION, registry.OneModelVersion(name="churn", version="4"))
    for _ in range(2):
        assert len(sides.copy().refused) == 2
        assert set(versions(sides.target, "churn")) == {"1", "3"}


def test_alias_and_stage_that_the_target_governs_are_refused_and_the_rest_comes(sides: Any, filled: Any) -> None:
    sides.copy()
    sides.target.registry.declare_environments("churn", {"production": 0}, may_loosen=False)
    call = sides.source.transport.call
    for alias in ("also", "champion", "zuletzt"):
        call(registry.SET_MODEL_ALIAS, registry.SetModelAlias(name="churn", alias=alias, version="1"))
    call(registry.TRANSITION_STAGE, registry.TransitionStage(name="churn", version="3", stage="Production"))
    call(registry.TRANSITION_STAGE, registry.TransitionStage(name="churn", version="1", stage="Archived"))
    call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="zeta"))
    report = sides.copy()
    refused = [line.partition(":")[0] for line in report.refused]
    assert refused == ["stage of version 3 of churn", "alias champion of churn"]
    assert sides.target.registry.list_aliases("churn") == {"also": 1, "best": 3, "zuletzt": 1}
    assert versions(sides.target, "churn")["1"].current_stage == "Archived"
    assert "zeta" in [model.name for model in sides.target.registry.list_models()]


@pytest.mark.parametrize("error", [GateFailed, PermissionDenied, Conflict, InvalidInput])
def test_alias_is_refused_for_whatever_reason_the_target_has(sides: Any, filled: Any, error: Any) -> None:
    def around(operation: Any, request: Any, call: Any) -> Any:
        if operation.name == registry.SET_MODEL_ALIAS.name:
            raise error("not you")
        return call(operation, request)

    report = sides.copy(around=around)
    assert report.refused == ("alias best of churn: not you",)
    assert counts(report)["registered models"] == (3, 3)
    assert sides.copy().is_equal


def test_alias_that_was_refused_is_the_targets_own_when_the_source_deletes_it(sides: Any, filled: Any) -> None:
    call = sides.source.transport.call
    call(registry.SET_MODEL_ALIAS, registry.SetModelAlias(name="churn", alias="champion", version="1"))
    sides.copy()
    sides.target.registry.declare_environments("churn", {"production": 0}, may_loosen=False)
    call(registry.SET_MODEL_ALIAS, registry.SetModelAlias(name="churn", alias="champion", version="3"))
    sides.copy()
    call(registry.DELETE_MODEL_ALIAS, registry.OneAlias(name="churn", alias="champion"))
    sides.copy()
    assert sides.target.registry.list_aliases("churn") == {"best": 3, "champion": 1}


def test_models_that_take_each_others_old_names_at_the_source_are_renamed(sides: Any, filled: Any) -> None:
    """archive is tidied, churn becomes archive, and a new model is called churn."""
    sides.copy()
    call = sides.source.transport.call
    for old, new in (("archive", "tidied"), ("churn", "archive")):
        call(registry.RENAME_MODEL, registry.RenameModel(name=old, new_name=new))
    call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="churn", description="new"))
    for _ in range(2):
        report = sides.copy()
        assert report.is_equal, report
        found = {model.name: model.description for model in sides.target.registry.list_models()}
        assert found == {"archive": "who leaves", "churn": "new", "greeting": "", "tidied": ""}
        assert [set(versions(sides.target, name)) for name in ("archive", "churn")] == [{"1", "3"}, set()]


def test_new_name_that_the_copy_has_but_does_not_say_yet_is_no_other_model(sides: Any, filled: Any) -> None:
    """As after a kill -9 between the two."""
    sides.copy()
    for client in (sides.source, sides.target):
        client.transport.call(registry.RENAME_MODEL, registry.RenameModel(name="churn", new_name="leavers"))
    for _ in range(2):
        report = sides.copy()
        assert report.is_equal, report
        assert set(versions(sides.target, "leavers")) == {"1", "3"}


def test_version_that_somebody_copies_at_the_target_stays(sides: Any, filled: Any) -> None:
    """Clients copy a version with all its tags."""
    sides.copy()
    tags = versions(sides.target, "churn")["3"].tags
    request = registry.CreateVersion(name="archive", source="models:/churn/3", tags=tags)
    sides.target.transport.call(registry.CREATE_VERSION, request)
    report = sides.copy()
    assert report.is_equal, report
    assert set(versions(sides.target, "archive")) == {"1", "2"}


def test_model_that_was_made_anew_at_the_source_is_refused_and_the_rest_comes(sides: Any, filled: Any) -> None:
    sides.copy()
    call = sides.source.transport.call
    call(registry.DELETE_MODEL, registry.ModelName(name="churn"))
    for name in ("churn", "zeta"):
        call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name=name))
    report = sides.copy()
    assert report.refused[0].startswith("model churn: the target has a registered model 'churn' already")
    assert "zeta" in [model.name for model in sides.target.registry.list_models()]
    assert set(versions(sides.target, "churn")) == {"1", "3"}


def test_source_that_falls_silent_ends_the_copy_with_what_is_in_hand(sides: Any, filled: Any) -> None:
    for number in range(20):
        run_id = sides.source.tracking.create_run(filled.experiment, run_name=f"run {number}")
        sides.source.tracking.log_metrics(run_id, {"m": 1.0})
    ended = sides.ended

    def change(operation: Any, request: Any, answer: Any) -> Any:
        if operation.name == runs.METRIC_HISTORY.name:
            if request.run_id == filled.parent:
                raise Unavailable("timed out")
            assert ended.wait(60)
        return answer

    with pytest.raises(Unavailable, match="timed out"):
        sides.copy(change=change)
    assert len(copied_runs(sides.target)) <= 2 * sides.jobs
    assert sides.copy().is_equal


def test_datasets_go_to_a_server_one_after_the_other(sides: Any, filled: Any) -> None:
    """MLflow's own fails where two requests at a time name a dataset that it does not know yet."""
    dataset = runs.DatasetInput(dataset=runs.Dataset(name="rows", digest="d2", source_type="local", source="{}"))
    for number in range(10):
        run_id = sides.source.tracking.create_run(filled.experiment, run_name=f"run {number}")
        sides.source.transport.call(runs.LOG_INPUTS, runs.LogInputs(run_id=run_id, datasets=(dataset,)))
    lock = Lock()

    def around(operation: Any, request: Any, call: Any) -> Any:
        if operation.name != runs.LOG_INPUTS.name or not request.datasets:
            return call(operation, request)
        if not lock.acquire(blocking=False):
            raise LockgateError("UNIQUE constraint failed: datasets.name, datasets.digest")
        try:
            sleep(0.02)  # in which others come, where they may
            return call(operation, request)
        finally:
            lock.release()

    report = sides.copy(around=around)
    assert report.is_equal and counts(report)["datasets"] == (11, 11)
