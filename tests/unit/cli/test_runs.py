import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.app import App
from lockgate.cli.runs import runs
from lockgate.clock import FakeClock
from lockgate.errors import InvalidInput, NotFound


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: regression\n")
    return App(start=tmp_path, clock=FakeClock())


@pytest.fixture
def run_ids(app: App) -> list[str]:
    tracking = app.client.tracking
    found = []
    for i in range(3):
        run_id = tracking.create_run(tracking.ensure_experiment("churn"), run_name=f"r{i}")
        tracking.log_metrics(run_id, {"rmse": i / 10})
        tracking.log_batch(run_id, params={"depth": str(i)})
        app.clock.sleep(1)
        tracking.finish_run(run_id)
        found.append(run_id)
    tracking.create_run(tracking.ensure_experiment("elsewhere"), run_name="other")
    return found


def call(app: App, *words: str) -> str:
    result = CliRunner().invoke(runs, words, obj=app, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def names(app: App, *words: str) -> list[str]:
    return [run["name"] for run in json.loads(call(app, *words, "--json"))]


def test_runs_of_the_model_are_listed_newest_first(app: App, run_ids: list[str]) -> None:
    assert names(app) == ["r2", "r1", "r0"]
    assert names(app, "--limit", "1") == ["r2"]
    assert names(app, "--all")[0] == "other"
    assert names(app, "--filter", "metrics.rmse < 0.15", "--order", "metrics.rmse ASC") == ["r0", "r1"]
    shown = call(app)
    assert "FINISHED" in shown
    assert "rmse=0.2" in shown
    assert run_ids[0][:12] in shown


def test_no_runs_says_what_to_do(app: App) -> None:
    assert "lockgate run" in call(app)


def test_unreadable_filter_is_the_users_mistake(app: App, run_ids: list[str]) -> None:
    with pytest.raises(InvalidInput):
        call(app, "--filter", "rmse is good")


def test_one_run_is_shown_whole_by_a_part_of_its_id(app: App, run_ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    app.client.tracking.upload_artifact(run_ids[1], tmp_path / "notes.txt", "out")
    found = json.loads(call(app, "show", run_ids[1][:10], "--json"))
    assert (found["run_id"], found["experiment"], found["duration_s"]) == (run_ids[1], "churn", 1.0)
    assert (found["params"], found["metrics"], found["artifacts"]) == ({"depth": "1"}, {"rmse": 0.1}, ["out/"])
    shown = call(app, "show", run_ids[1])
    assert "out/" in shown
    assert "depth" in shown


def test_id_that_names_no_run_or_several_is_refused(app: App, run_ids: list[str]) -> None:
    with pytest.raises(NotFound):
        call(app, "show", "x" * 32)
    with pytest.raises(NotFound):
        call(app, "show", "zzz")
    with pytest.raises(InvalidInput):
        call(app, "show", "%")
    ids = run_ids + [app.client.tracking.create_run("0") for _ in range(14)]
    firsts = [run_id[0] for run_id in ids]
    shared = next(first for first in firsts if firsts.count(first) > 1)  # 17 ids begin with one of 16 digits
    with pytest.raises(InvalidInput, match="several"):
        call(app, "show", shared)
