"""What is deleted for good goes with its files, wherever its experiment says that these are."""

from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from sqlalchemy import event, func, select

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.errors import NotFound, Unavailable
from lockgate.metadata import purge as rows
from lockgate.metadata.points import log_points
from lockgate.metadata.tables import datasets, latest_metrics, metrics
from lockgate.metadata.versions import create_version
from lockgate.server.artifacts.folder import ArtifactFolder
from lockgate.server.artifacts.open import open_artifacts
from lockgate.server.context import Context
from lockgate.server.files import begin_upload
from lockgate.server.local import LocalTransport
from lockgate.wire.mlflow import artifacts, experiments, logged_models, runs
from lockgate.wire.purge import PURGE, Purge


@pytest.mark.parametrize(
    ("location", "is_ours"),
    [
        ("", True),
        ("mlflow-artifacts:/some/where", True),
        ("mlflow-artifacts://models:5000/some/where", True),
        ("mlflow-artifacts:/a:b/c", False),  # which names no folder here
        ("s3://bucket/x", False),
    ],
)
def test_files_go_with_the_run_and_no_location_keeps_the_next_run_waiting(
    context: Context, tmp_path: Path, location: str, *, is_ours: bool
) -> None:
    client = Client(LocalTransport(context), SystemClock())
    (tmp_path / "f.txt").write_text("x")
    made = client.transport.call(
        experiments.CREATE_EXPERIMENT, experiments.CreateExperiment(name="odd", artifact_location=location)
    )
    odd, plain = (client.tracking.create_run(number) for number in (made.experiment_id, "0"))
    for run_id in (odd, plain) if is_ours else (plain,):
        client.tracking.upload_artifact(run_id, tmp_path / "f.txt")
        assert [file.path for file in client.tracking.list_artifacts(run_id)] == ["f.txt"]
    for run_id in (odd, plain):
        client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
    done = client.tracking.purge(before_ms=2**62)
    assert (
        (done.runs, done.folders, done.elsewhere) == (2, 2, ()) if is_ours else (2, 1, (f"{location}/{odd}/artifacts",))
    )
    assert list((tmp_path / "state" / "artifacts").rglob("f.txt")) == []


def test_audit_tells_how_much_and_which_runs_were_deleted_for_good(context: Context, tmp_path: Path) -> None:
    client = Client(LocalTransport(context), SystemClock())
    run_ids = [client.tracking.create_run("0") for _ in range(2)]
    (tmp_path / "f.txt").write_text("x")
    client.tracking.upload_artifact(run_ids[0], tmp_path / "f.txt")
    for run_id in run_ids:
        client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
    client.tracking.purge(before_ms=2**62)
    told = [entry.details for entry in client.access.list_audit() if entry.operation == "tracking.purge"]
    assert told == [
        {"folders": 1},
        {"runs": 2, "logged_models": 0, "experiments": 0, "run_ids": " ".join(sorted(run_ids))},
    ]


def test_what_is_kept_is_counted_once_and_not_by_every_call_that_leaves_more_to_do(context: Context) -> None:
    client = Client(LocalTransport(context), SystemClock())
    run_ids = [client.tracking.create_run("0") for _ in range(52)]
    client.registry.ensure_model("churn")
    with context.write() as tx:
        create_version(tx, "churn", source=f"runs:/{run_ids[0]}/model", run_id=run_ids[0])
    for run_id in run_ids:
        client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
    dry = client.tracking.purge(before_ms=2**62, dry_run=True)
    assert (dry.runs, dry.kept, dry.more) == (51, 1, False)
    said: list[str] = []
    event.listen(context.database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    first = client.transport.call(PURGE, Purge(before=2**62))
    assert (first.runs, first.kept, first.more) == (50, 0, True)
    assert [text for text in said if "count(" in text] == []
    last = client.transport.call(PURGE, Purge(before=2**62))
    assert (last.runs, last.kept, last.more) == (1, 1, False)


@pytest.mark.parametrize("inside", ["", "/y", "//y/z"])
def test_files_of_an_experiment_that_lies_in_the_folder_of_another_stay(
    context: Context, tmp_path: Path, inside: str
) -> None:
    client = Client(LocalTransport(context), SystemClock())
    outer = client.tracking.ensure_experiment("outer")
    place = f"mlflow-artifacts:/{outer}{inside}"
    request = experiments.CreateExperiment(name="inner", artifact_location=place)
    inner = client.transport.call(experiments.CREATE_EXPERIMENT, request).experiment_id
    (tmp_path / "f.txt").write_text("x")
    gone, kept = (client.tracking.create_run(number) for number in (outer, inner))
    for run_id in (gone, kept):
        client.tracking.upload_artifact(run_id, tmp_path / "f.txt")
    client.transport.call(experiments.DELETE_EXPERIMENT, experiments.ExperimentId(experiment_id=outer))
    done = client.tracking.purge(before_ms=2**62)
    assert (done.experiments, done.folders, done.elsewhere) == (1, 1, ())
    assert [file.path for file in client.tracking.list_artifacts(kept)] == ["f.txt"]
    assert not (tmp_path / "state" / "artifacts" / outer / gone).exists()


def test_long_history_is_deleted_by_the_next_call_where_the_first_one_was_killed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_POINTS", 2)
    client = Client(LocalTransport(context), SystemClock())
    run_ids = [client.tracking.create_run("0") for _ in range(2)]
    with context.write() as tx:
        for run_id in run_ids:
            log_points(tx, run_id, [("m", 1.0, 1, step) for step in range(7)])
    for run_id in run_ids:
        client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
    with context.write() as tx:
        rows.purge(tx, before=2**62, limit=50)  # and no more
    # What is left of it is kept beside the latest values, under its number.
    for asked in (runs.SearchRuns(filter="metrics.`1` > 0"), runs.SearchRuns(order_by=("metrics.`1` DESC",))):
        wanted = replace(asked, experiment_ids=("0",), run_view_type="ALL")
        found = client.transport.call(runs.SEARCH_RUNS, wanted).runs
        assert [run.info.run_id for run in found] == ([] if asked.filter else [max(run_ids)])
    calls = [client.transport.call(PURGE, Purge(before=2**62)) for _ in range(2)]
    assert [(done.runs, done.more) for done in calls] == [(1, True), (0, False)]
    with context.read() as connection:
        assert [connection.scalar(select(func.count()).select_from(table)) for table in (metrics, latest_metrics)] == [
            0,
            0,
        ]


class PartlyStuck(ArtifactFolder):
    """One folder cannot be deleted until it is mended."""

    stuck = ""

    def delete(self, path: str) -> bool:
        if self.stuck and self.stuck in path:
            raise Unavailable(f"the folder for artifacts failed at {path!r}: Permission denied.")
        return super().delete(path)


def test_folder_that_cannot_be_deleted_keeps_no_other_waiting_and_is_not_forgotten(
    context: Context, tmp_path: Path
) -> None:
    store = PartlyStuck(tmp_path / "state" / "artifacts")
    client = Client(LocalTransport(replace(context, artifacts=store)), SystemClock())
    (tmp_path / "f.txt").write_text("x")

    def delete_some() -> list[str]:
        run_ids = sorted(client.tracking.create_run("0") for _ in range(3))
        for run_id in run_ids:
            client.tracking.upload_artifact(run_id, tmp_path / "f.txt")
            client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
        return run_ids

    def left() -> list[str]:
        return [path.parent.parent.name for path in store.root.rglob("f.txt")]

    first = delete_some()
    store.stuck = first[0]
    with pytest.raises(Unavailable, match=f"1 folders of what was deleted .*{first[0]}.*Permission denied"):
        client.tracking.purge(before_ms=2**62)
    assert left() == first[:1]
    second = delete_some()
    with pytest.raises(Unavailable, match="1 folders"):
        client.tracking.purge(before_ms=2**62)
    assert len(left()) == 4
    assert [client.tracking.get_run(run_id).info.run_id for run_id in second] == second  # with their files
    store.stuck = ""
    client.tracking.purge(before_ms=2**62)
    assert left() == []


def test_run_that_was_restored_in_a_deleted_experiment_keeps_its_logged_models(
    context: Context, tmp_path: Path
) -> None:
    client = Client(LocalTransport(context), SystemClock())
    experiment = client.tracking.ensure_experiment("x")
    restored, gone = (client.tracking.create_run(experiment) for _ in range(2))
    made = [
        client.transport.call(
            logged_models.CREATE_LOGGED_MODEL,
            logged_models.CreateLoggedModel(experiment_id=experiment, name="m", source_run_id=run_id),
        ).model.info.model_id
        for run_id in (restored, gone)
    ]
    client.transport.call(experiments.DELETE_EXPERIMENT, experiments.ExperimentId(experiment_id=experiment))
    client.transport.call(runs.RESTORE_RUN, runs.OfRun(run_id=restored))
    done = client.tracking.purge(before_ms=2**62)
    assert (done.runs, done.logged_models, done.experiments) == (1, 1, 0)
    found = client.transport.call(logged_models.GET_LOGGED_MODEL, logged_models.GetLoggedModel(model_id=made[0]))
    assert found.model.info.source_run_id == restored
    client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=restored))
    done = client.tracking.purge(before_ms=2**62)
    assert (done.runs, done.logged_models, done.experiments) == (1, 1, 1)


def test_nothing_names_what_went_for_good_and_no_dataset_stays_that_no_run_has_used(context: Context) -> None:
    client = Client(LocalTransport(context), SystemClock())
    first, second = (client.tracking.create_run("0") for _ in range(2))
    data = [runs.Dataset(name=name, digest="d", source_type="local", source="s") for name in ("both", "one")]
    for run_id, used in ((first, data), (second, data[:1])):
        inputs = tuple(runs.DatasetInput(dataset=item) for item in used)
        client.transport.call(runs.LOG_INPUTS, runs.LogInputs(run_id=run_id, datasets=inputs))
    request = logged_models.CreateLoggedModel(experiment_id="0", name="m", source_run_id=second)
    model_id = client.transport.call(logged_models.CREATE_LOGGED_MODEL, request).model.info.model_id
    client.transport.call(
        runs.LOG_OUTPUTS, runs.LogOutputs(run_id=second, models=(runs.ModelOutput(model_id=model_id, step=0),))
    )
    client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=first))
    client.transport.call(logged_models.DELETE_LOGGED_MODEL, logged_models.OneLoggedModel(model_id=model_id))
    client.tracking.purge(before_ms=2**62)
    run = client.tracking.get_run(second)
    assert [item.dataset.name for item in run.inputs.dataset_inputs] == ["both"]
    assert run.outputs is None or run.outputs.model_outputs == ()
    with context.read() as connection:
        assert connection.scalars(select(datasets.c.name)).all() == ["both"]


LOCATIONS = [
    ("", "1"),
    ("mlflow-artifacts:/some/where", "some/where"),
    ("mlflow-artifacts://models:5000/some%20b/where/", "some b/where"),
    ("mlflow-artifacts:/2024/models", "2024/models"),
    ("mlflow-artifacts:/0/models", "0/models"),
    ("mlflow-artifacts:/", "."),
]


@pytest.mark.parametrize(("location", "folder"), LOCATIONS)
def test_nothing_can_be_uploaded_to_what_went_for_good_because_nothing_would_delete_it(
    context: Context, tmp_path: Path, location: str, folder: str
) -> None:
    client = Client(LocalTransport(context), SystemClock())
    (tmp_path / "f.txt").write_text("x")
    made = experiments.CreateExperiment(name="some", artifact_location=location)
    number = client.transport.call(experiments.CREATE_EXPERIMENT, made).experiment_id
    run_id = client.tracking.create_run(number)
    request = logged_models.CreateLoggedModel(experiment_id=number, name="m")
    model_id = client.transport.call(logged_models.CREATE_LOGGED_MODEL, request).model.info.model_id
    client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
    client.transport.call(logged_models.DELETE_LOGGED_MODEL, logged_models.OneLoggedModel(model_id=model_id))
    paths = [f"{folder}/{run_id}/artifacts/f.txt", f"{folder}/models/{model_id}/artifacts/f.txt"]
    for path in paths:  # what is deleted can be restored
        client.transport.put_file(path, tmp_path / "f.txt")
    late = [begin_upload(context, path.replace("f.txt", "some/where/f.txt")) for path in paths]
    client.tracking.purge(before_ms=2**62)
    for path in paths:
        with pytest.raises(NotFound, match=f"{run_id}|{model_id}"):
            client.transport.put_file(path, tmp_path / "f.txt")
    for upload in late:
        with pytest.raises(NotFound, match=f"the run {run_id}, which is not there|{model_id}"):
            upload.commit()
    left = [str(path) for path in (tmp_path / "state" / "artifacts").rglob("*")]
    assert [path for path in left if not path.endswith((".partial", folder, *folder.split("/"), "/models"))] == []
    client.transport.put_file(f"{folder}/other/f.txt", tmp_path / "f.txt")


@pytest.mark.parametrize(("location", "folder"), LOCATIONS)
def test_upload_that_comes_too_late_leaves_nothing_where_its_experiment_went_as_well(
    context: Context, tmp_path: Path, location: str, folder: str
) -> None:
    client = Client(LocalTransport(context), SystemClock())
    made = experiments.CreateExperiment(name="some", artifact_location=location)
    number = client.transport.call(experiments.CREATE_EXPERIMENT, made).experiment_id
    run_id = client.tracking.create_run(number)
    request = logged_models.CreateLoggedModel(experiment_id=number, name="m")
    model_id = client.transport.call(logged_models.CREATE_LOGGED_MODEL, request).model.info.model_id
    late = [begin_upload(context, f"{folder}/{path}/artifacts/f") for path in (run_id, f"models/{model_id}")]
    client.transport.call(experiments.DELETE_EXPERIMENT, experiments.ExperimentId(experiment_id=number))
    assert client.tracking.purge(before_ms=2**62).experiments == 1
    for upload in late:
        with pytest.raises(NotFound, match=f"the run {run_id}, which is not there|{model_id}"):
            upload.commit()
    assert not [path for path in (tmp_path / "state" / "artifacts").rglob("*") if path.name in (run_id, model_id, "f")]


def test_folder_in_a_run_that_is_called_as_a_run_could_be_is_one_as_any_other(context: Context, tmp_path: Path) -> None:
    client = Client(LocalTransport(context), SystemClock())
    (tmp_path / "f.txt").write_text("x")
    request = experiments.CreateExperiment(name="some", artifact_location="mlflow-artifacts:/some/where")
    number = client.transport.call(experiments.CREATE_EXPERIMENT, request).experiment_id
    digest = "0123456789abcdef" * 2
    for run_id in (client.tracking.create_run("0"), client.tracking.create_run(number)):
        for folder in (digest, f"models/m-{digest}"):
            client.tracking.upload_artifact(run_id, tmp_path / "f.txt", folder)
        assert len(client.tracking.list_artifacts(run_id)) == 2
    client.transport.put_file(f"elsewhere/{digest}/artifacts/f.txt", tmp_path / "f.txt")


def test_experiment_in_the_folder_of_a_run_that_went_goes_on(context: Context, tmp_path: Path) -> None:
    client = Client(LocalTransport(context), SystemClock())
    (tmp_path / "f.txt").write_text("x")
    run_id = client.tracking.create_run("0")
    request = experiments.CreateExperiment(name="in", artifact_location=f"mlflow-artifacts:/0/{run_id}/artifacts/some")
    number = client.transport.call(experiments.CREATE_EXPERIMENT, request).experiment_id
    kept, gone = (client.tracking.create_run(number) for _ in range(2))
    late = begin_upload(context, f"0/{run_id}/artifacts/some/{gone}/artifacts/f")
    for doomed in (run_id, gone):
        client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=doomed))
    client.tracking.purge(before_ms=2**62)
    client.tracking.upload_artifact(kept, tmp_path / "f.txt")
    assert [file.path for file in client.tracking.list_artifacts(kept)] == ["f.txt"]
    with pytest.raises(NotFound, match=f"the run {gone}, which is not there"):
        late.commit()
    with pytest.raises(NotFound, match=f"the run {run_id}, which is not there"):
        begin_upload(context, f"0/{run_id}/artifacts/f")


def test_upload_that_comes_too_late_leaves_what_lies_in_the_folder_of_the_run_that_went(
    context: Context, tmp_path: Path
) -> None:
    client = Client(LocalTransport(context), SystemClock())
    (tmp_path / "f.txt").write_text("x")
    run_id = client.tracking.create_run("0")
    place = f"mlflow-artifacts:/0/{run_id}/artifacts/some"
    request = experiments.CreateExperiment(name="inner", artifact_location=place)
    kept = client.tracking.create_run(client.transport.call(experiments.CREATE_EXPERIMENT, request).experiment_id)
    client.tracking.upload_artifact(kept, tmp_path / "f.txt")
    late = begin_upload(context, f"0/{run_id}/artifacts/some/where/f.txt")
    client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
    client.tracking.purge(before_ms=2**62)
    with pytest.raises(NotFound, match=f"the run {run_id}, which is not there"):
        late.commit()
    assert [file.path for file in client.tracking.list_artifacts(kept)] == ["f.txt"]
    assert not (tmp_path / "state" / "artifacts" / "0" / run_id / "artifacts" / "some" / "where").exists()


@pytest.mark.parametrize(("location", "folder"), LOCATIONS)
def test_upload_in_parts_to_what_went_for_good_is_refused_at_both_ends(
    context: Context, tmp_path: Path, s3_url: str, location: str, folder: str
) -> None:
    store = open_artifacts(s3_url, default=tmp_path)
    transport = LocalTransport(replace(context, artifacts=store))
    client = Client(transport, SystemClock())
    made = experiments.CreateExperiment(name="some", artifact_location=location)
    run_id = client.tracking.create_run(transport.call(experiments.CREATE_EXPERIMENT, made).experiment_id)
    wanted = artifacts.CreateParts(artifact_path=f"{folder}/{run_id}/artifacts", path="f", num_parts=1)
    begun = transport.call(artifacts.CREATE_PARTS, wanted)
    sent = httpx.put(begun.credentials[0].url, content=b"x")
    part = artifacts.SentPart(part_number=1, etag=sent.headers["ETag"])
    transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))
    client.tracking.purge(before_ms=2**62)
    with pytest.raises(NotFound, match=run_id):
        transport.call(artifacts.CREATE_PARTS, wanted)
    done = artifacts.CompleteParts(
        artifact_path=wanted.artifact_path, path="f", upload_id=begun.upload_id, parts=(part,)
    )
    with pytest.raises(NotFound, match=run_id):
        transport.call(artifacts.COMPLETE_PARTS, done)
    with pytest.raises(NotFound, match="no artifact"):
        store.open(f"{wanted.artifact_path}/f")
