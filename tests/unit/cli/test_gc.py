"""`lockgate gc --deleted-before`: what was deleted goes for good, with its files."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lockgate.cli.app import App
from lockgate.cli.gc import gc
from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.errors import InvalidInput, LockgateError, NotFound
from lockgate.exchange.answers import SEARCH_RUNS
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread
from lockgate.wire.mlflow import experiments, logged_models, runs
from lockgate.wire.operation import Operation

DAY_S = 86_400


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: regression\n")
    return App(start=tmp_path, clock=FakeClock())


def call(app: App, *words: str) -> str:
    result = CliRunner().invoke(gc, words, obj=app, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def run_with_file(app: App, tmp_path: Path, name: str, experiment: str = "0") -> str:
    run_id = app.client.tracking.create_run(experiment, run_name=name)
    (tmp_path / "f.txt").write_text(name)
    app.client.tracking.upload_artifact(run_id, tmp_path / "f.txt")
    return run_id


def files_of(app: App) -> set[str]:
    root = app.folder.state / "artifacts"
    return {str(path.relative_to(root)) for path in root.rglob("*.txt")}


def old_content(app: App, text: bytes) -> str:
    """The digest of something that was stored before the grace period."""
    digest = app.store.put_bytes(text)
    for path in app.store.root.rglob("*"):
        os.utime(path, (1, 1))
    return digest


def delete(app: App, run_id: str) -> None:
    app.client.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=run_id))


def test_runs_of_a_server_are_deleted_for_good_from_outside_of_a_project(
    app: App, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    delete(app, run_with_file(app, tmp_path, "old"))
    app.clock.sleep(2 * DAY_S)
    with (
        closing(open_context(app.folder.state, user="ann", clock=app.clock)) as context,
        serve_in_thread(make_app(context, settings=Settings())) as server,
    ):
        outside = App(start=tmp_path_factory.mktemp("outside"), clock=app.clock, uri=server.url)
        done = json.loads(call(outside, "--deleted-before", "1", "--json"))
        assert (done["purged"]["runs"], done["content"]) == (1, None)
        assert call(outside, "--deleted-before", "1").startswith("0 runs, ")
        with pytest.raises(NotFound):  # what else is deleted belongs to a project
            call(outside)
        outside.client.close()
    assert files_of(app) == set()


def test_days_since_the_deletion_are_limited(app: App) -> None:
    result = CliRunner().invoke(gc, ["--deleted-before", "999999999999"], obj=app)
    assert (result.exit_code, "--deleted-before" in result.output) == (2, True)


def test_only_what_was_deleted_long_enough_ago_goes(app: App, tmp_path: Path) -> None:
    old, recent, kept = (run_with_file(app, tmp_path, name) for name in ("old", "recent", "kept"))
    delete(app, old)
    app.clock.sleep(20 * DAY_S)
    delete(app, recent)
    app.clock.sleep(20 * DAY_S)
    dry = json.loads(call(app, "--deleted-before", "30", "--dry-run", "--json"))["purged"]
    assert (dry["runs"], dry["folders"]) == (1, 0)
    assert len(files_of(app)) == 3
    done = json.loads(call(app, "--deleted-before", "30", "--json"))["purged"]
    assert (done["runs"], done["folders"], done["kept"]) == (1, 1, 0)
    assert files_of(app) == {f"0/{run_id}/artifacts/f.txt" for run_id in (recent, kept)}
    assert not (app.folder.state / "artifacts" / "0" / old).exists()
    assert "1 runs, 0 logged models and 0 experiments deleted for good" in call(app, "--deleted-before", "0.5")
    assert files_of(app) == {f"0/{kept}/artifacts/f.txt"}


def test_without_the_option_deleted_runs_can_still_be_restored(app: App, tmp_path: Path) -> None:
    run_id = run_with_file(app, tmp_path, "r")
    delete(app, run_id)
    app.clock.sleep(1000 * DAY_S)
    assert json.loads(call(app, "--json"))["purged"] is None
    app.client.transport.call(runs.RESTORE_RUN, runs.OfRun(run_id=run_id))
    assert files_of(app) == {f"0/{run_id}/artifacts/f.txt"}


def test_content_that_deleted_runs_name_is_kept_until_they_can_no_longer_be_restored(app: App) -> None:
    experiment = app.client.tracking.ensure_experiment("churn")
    gone = app.client.tracking.ensure_experiment("gone")
    names = [old_content(app, text) for text in (b"of a deleted run", b"of a deleted experiment", b"of nobody")]
    run_ids = [
        app.client.tracking.create_run(number, tags={"lockgate.code.diff": digest})
        for number, digest in zip((experiment, gone), names, strict=False)
    ]
    delete(app, run_ids[0])
    app.client.transport.call(experiments.DELETE_EXPERIMENT, experiments.ExperimentId(experiment_id=gone))
    assert json.loads(call(app, "--json"))["content"]["deleted"] == names[2:]
    app.clock.sleep(2 * DAY_S)
    assert sorted(json.loads(call(app, "--deleted-before", "1", "--json"))["content"]["deleted"]) == sorted(names[:2])


def test_runs_of_many_experiments_are_asked_for_with_few_searches(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [old_content(app, b"%d" % i) for i in range(120)]
    app.client.tracking.ensure_experiment("churn")
    for i, digest in enumerate(names):
        number = app.client.tracking.ensure_experiment(f"e{i}")
        app.client.tracking.create_run(number, tags={"lockgate.code.diff": digest})
    asked = []
    call_one = app.client.transport.call

    def call_and_count(operation: Operation[Any, Any], request: object) -> object:
        asked.append(operation.name)
        return call_one(operation, request)

    monkeypatch.setattr(app.client.transport, "call", call_and_count)
    assert json.loads(call(app, "--json"))["content"]["deleted"] == []
    assert asked.count(SEARCH_RUNS.name) == 2


def test_content_that_windows_name_is_kept_whatever_became_of_their_environment(app: App, make_window) -> None:
    app.client.registry.ensure_model("churn")
    profile = old_content(app, b"a profile")
    window = make_window("w", environment="an earlier name of production", profile=profile)
    app.client.monitoring.record_window(window)
    assert json.loads(call(app, "--json"))["content"]["deleted"] == []


def test_experiment_goes_with_its_runs_and_models_however_many(app: App, tmp_path: Path) -> None:
    experiment = app.client.tracking.ensure_experiment("gone")
    for i in range(120):  # more than one call deletes
        app.client.tracking.create_run(experiment, run_name=f"r{i}")
    run_with_file(app, tmp_path, "with files", experiment)
    request = logged_models.CreateLoggedModel(experiment_id=experiment, name="m")
    app.client.transport.call(logged_models.CREATE_LOGGED_MODEL, request)
    request = experiments.ExperimentId(experiment_id=experiment)
    app.client.transport.call(experiments.DELETE_EXPERIMENT, request)
    app.clock.sleep(2 * DAY_S)
    done = json.loads(call(app, "--deleted-before", "1", "--json"))["purged"]
    assert (done["runs"], done["logged_models"], done["experiments"], done["more"]) == (121, 1, 1, False)
    assert files_of(app) == set()
    assert app.client.tracking.ensure_experiment("gone") != experiment  # the name is free, the id is never given again


def test_folders_that_lockgate_does_not_keep_are_named(app: App) -> None:
    request = experiments.CreateExperiment(name="far", artifact_location="s3://bucket/x")
    far = app.client.transport.call(experiments.CREATE_EXPERIMENT, request).experiment_id
    deleted = [app.client.tracking.create_run(far, run_name=f"r{i}") for i in range(25)]
    for run_id in deleted:
        delete(app, run_id)
    app.clock.sleep(2 * DAY_S)
    said = call(app, "--deleted-before", "1").splitlines()
    assert "25 folders are not kept by Lockgate and are yours to delete:" in said
    named = [line.strip() for line in said if "s3://" in line]
    assert len(named) == 20
    assert set(named) <= {f"s3://bucket/x/{run_id}" for run_id in deleted}
    assert "  and 5 more (--json)" in said


def test_what_was_done_is_said_before_the_store_fails(
    app: App, tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = experiments.CreateExperiment(name="churn", artifact_location="s3://elsewhere/x")
    number = app.client.transport.call(experiments.CREATE_EXPERIMENT, request).experiment_id
    run_id = app.client.tracking.create_run(number)
    delete(app, run_id)
    app.clock.sleep(2 * DAY_S)
    monkeypatch.setenv("LOCKGATE_ARTIFACTS", "s3://no-such-bucket/x")
    app = App(start=tmp_path, clock=app.clock)
    gone = old_content(app, b"of nobody")
    result = CliRunner().invoke(gc, ["--deleted-before", "1"], obj=app)
    assert isinstance(result.exception, LockgateError)
    assert f"yours to delete:\n  s3://elsewhere/x/{run_id}\n1 objects" in result.output
    assert not app.store.path_of(gone).exists()
    result = CliRunner().invoke(gc, ["--json"], obj=app)
    assert isinstance(result.exception, LockgateError)
    assert json.loads(result.output)["content"]["deleted"] == []


def test_records_stay_where_the_folder_that_has_their_files_is_not_the_one_that_is_set(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKGATE_ARTIFACTS", str(tmp_path / "far"))
    run_id = run_with_file(app, tmp_path, "r")
    delete(app, run_id)
    app.clock.sleep(2 * DAY_S)
    monkeypatch.delenv("LOCKGATE_ARTIFACTS")
    forgetful = App(start=tmp_path, clock=app.clock)
    for words in (["--dry-run"], []):
        with pytest.raises(InvalidInput, match=r"no folder .*/\.lockgate/artifacts: they would stay") as refused:
            call(forgetful, "--deleted-before", "1", *words)
        assert "LOCKGATE_ARTIFACTS" in str(refused.value)
    assert list((tmp_path / "far").rglob("f.txt")) != []
    assert "1 runs, " in call(app, "--deleted-before", "1")
    assert list((tmp_path / "far").rglob("f.txt")) == []
