"""What is deleted for good goes with its files, wherever its experiment says that these are."""

from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.server.context import Context
from lockgate.server.local import LocalTransport
from lockgate.wire.mlflow import experiments, runs


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
