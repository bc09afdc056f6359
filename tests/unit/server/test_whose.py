"""Roles on a name reach the files of its experiments wherever somebody chose to keep them, and no others."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lockgate.metadata import experiments as stored
from lockgate.metadata.runs import create_run
from lockgate.wire.mlflow import experiments, logged_models, runs

MLFLOW = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


def make(team, name: str, location: str = "") -> tuple[str, str]:
    """An experiment: its number, and the folder of a run of its, as clients make an address of it."""
    request = experiments.CreateExperiment(name=name, artifact_location=location)
    number = team.client.transport.call(experiments.CREATE_EXPERIMENT, request).experiment_id
    return number, run_in(team, number)


def run_in(team, number: str) -> str:
    uri = team.client.tracking.get_run(team.client.tracking.create_run(number)).info.artifact_uri
    return below_root(uri)


def below_root(uri: str) -> str:
    _, _, path = uri.removeprefix("mlflow-artifacts:").removeprefix("//models:5000").partition("/")
    return path.lstrip("/")


def what_may(team, token: str, path: str) -> dict[str, int]:
    """The status of each that can be done with a file and its folder, as MLflow's client asks for it."""
    return {
        "upload": team.ask(token, "PUT", f"{FILES}/{path}/f", b"x")[0],
        "read": team.ask(token, "GET", f"{FILES}/{path}/f")[0],
        "list": team.ask(token, "GET", f"{FILES}?path={quote(path)}")[0],
        "delete": team.ask(token, "DELETE", f"{FILES}/{path}/f")[0],
    }


ALL = {"upload": 200, "read": 200, "list": 200, "delete": 200}
NOTHING = dict.fromkeys(ALL, 403)


@pytest.mark.parametrize(
    "location",
    [
        "mlflow-artifacts:/some/where",
        "mlflow-artifacts://models:5000//some/where/",
        "mlflow-artifacts:/some%20b/caf%C3%A9",
        "mlflow-artifacts:/some/%2e/where",
        "mlflow-artifacts:/2024/models",
        "mlflow-artifacts:/2024",
        "mlflow-artifacts:/20240101000000000000",  # no number that an experiment could have
        "mlflow-artifacts:/",
    ],
)
def test_role_on_a_name_reaches_the_files_of_its_experiment_wherever_they_are(team, location: str) -> None:
    token, stranger = team.add("bob", "contributor", pattern="team/*"), team.add("mal", "contributor", pattern="mal*")
    number, path = make(team, "team/x", location)
    assert what_may(team, token, path) == ALL
    assert what_may(team, stranger, path) == NOTHING
    made = team.client.transport.call(
        logged_models.CREATE_LOGGED_MODEL, logged_models.CreateLoggedModel(experiment_id=number, name="m")
    )
    model = below_root(made.model.info.artifact_uri)
    assert (what_may(team, token, model), what_may(team, stranger, model)) == (ALL, NOTHING)
    team.client.transport.call(experiments.DELETE_EXPERIMENT, experiments.ExperimentId(experiment_id=number))
    assert (what_may(team, token, path), what_may(team, stranger, path)) == (ALL, NOTHING)


def test_new_experiment_does_not_take_over_the_files_that_lie_in_the_folder_of_its_number(team, tmp_path: Path) -> None:
    number, _ = make(team, "first")
    theirs, its = str(int(number) + 2), f"{int(number) + 2}/secret"
    _, path = make(team, "hidden", f"mlflow-artifacts:/{its}")
    (tmp_path / "f").write_text("top secret")
    team.client.transport.put_file(f"{path}/f", tmp_path / "f")
    stranger = team.add("mal", "contributor", pattern="mal*")
    status, made = team.ask(stranger, "POST", f"{MLFLOW}/experiments/create", b'{"name": "mal-x"}')
    assert (status, made["experiment_id"]) == (200, theirs)
    own = run_in(team, theirs)
    assert (what_may(team, stranger, own), what_may(team, stranger, path)) == (ALL, NOTHING)
    assert team.ask(stranger, "GET", f"{FILES}?path={its}")[0] == 403
    for folder in (its, theirs):  # what lies in a folder goes with it
        assert team.ask(stranger, "DELETE", f"{FILES}/{folder}")[0] == 403
    assert team.asked.context.artifacts.list(path, limit=9).files != ()
    team.client.access.grant_role("mal", "contributor", pattern="hidden")
    team.pass_time(1)
    assert team.ask(stranger, "DELETE", f"{FILES}/{theirs}")[0] == 200
    assert team.asked.context.artifacts.list(path, limit=9).files == ()


def test_nearest_of_two_folders_decides_and_whole_names_are_compared(team) -> None:
    make(team, "outer", "mlflow-artifacts:/data")
    _, inner = make(team, "inner", "mlflow-artifacts:/data/in")
    outside, inside = (team.add(name, "contributor", pattern=name) for name in ("outer", "inner"))
    for path in ("data/in", "data/in/x", inner):
        assert (what_may(team, outside, path), what_may(team, inside, path)) == (NOTHING, ALL)
    for path in ("data", "data/other", "data/inn"):
        assert (what_may(team, outside, path), what_may(team, inside, path)) == (ALL, NOTHING)
    for path in ("database", "dat", "other"):  # nobody's
        assert (what_may(team, outside, path), what_may(team, inside, path)) == (NOTHING, NOTHING)
    for token in (outside, inside):  # inside of it are files of both
        assert team.ask(token, "DELETE", f"{FILES}/data")[0] == 403
    both = team.add("both", "contributor", pattern="outer")
    team.client.access.grant_role("both", "contributor", pattern="inner")
    team.pass_time(1)
    assert team.ask(both, "DELETE", f"{FILES}/data")[0] == 200


def test_in_a_folder_that_several_chose_each_has_its_runs(team) -> None:
    made = {name: make(team, name, "mlflow-artifacts:/all")[1] for name in ("one", "two")}
    tokens = {name: team.add(name, "contributor", pattern=name) for name in made}
    found = {(who, whose): what_may(team, tokens[who], path) for who in made for whose, path in made.items()}
    assert found == {(who, whose): ALL if who == whose else NOTHING for who in made for whose in made}
    for path in ("all", "all/models", "all/x"):
        assert what_may(team, tokens["one"], path) == NOTHING


def test_folder_of_a_number_that_was_chosen_before_is_shared(team) -> None:
    number, _ = make(team, "first")
    taken = str(int(number) + 2)
    _, before = make(team, "chose", f"mlflow-artifacts:/{taken}")
    made = make(team, "numbered")
    assert made[0] == taken
    tokens = {name: team.add(name, "contributor", pattern=name) for name in ("chose", "numbered")}
    found = [what_may(team, tokens[name], path) for name in tokens for path in (before, made[1])]
    assert found == [ALL, NOTHING, NOTHING, ALL]
    assert team.ask(tokens["numbered"], "DELETE", f"{FILES}/{taken}")[0] == 403


def test_what_was_renamed_purged_or_made_by_another_server_is_noticed_at_once(team) -> None:
    token, other = (team.add(name, "contributor", pattern=name) for name in ("here", "there"))
    number, path = make(team, "here", "mlflow-artifacts:/some/where")
    assert (what_may(team, token, path), what_may(team, other, path)) == (ALL, NOTHING)
    update = experiments.UpdateExperiment(experiment_id=number, new_name="there")
    team.client.transport.call(experiments.UPDATE_EXPERIMENT, update)
    assert (what_may(team, token, path), what_may(team, other, path)) == (NOTHING, ALL)
    with team.asked.context.write() as tx:
        stored.create_experiment(tx, "here", artifact_location="mlflow-artifacts:/some/where/else")
    assert (what_may(team, token, "some/where/else"), what_may(team, other, "some/where/else")) == (ALL, NOTHING)
    team.client.transport.call(experiments.DELETE_EXPERIMENT, experiments.ExperimentId(experiment_id=number))
    team.client.tracking.purge(before_ms=2**62)
    assert what_may(team, other, "some/where") == NOTHING


def test_files_are_found_by_their_run_by_who_has_a_role_on_its_name(team) -> None:
    token = team.add("bob", "contributor", pattern="team/*")
    number, _ = make(team, "team/x", "mlflow-artifacts:/some/where")
    run_id = team.client.tracking.create_run(number)
    uploaded = team.ask(token, "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path=f", b"x")
    assert uploaded[0] == 200, uploaded
    assert team.ask(token, "GET", f"/get-artifact?run_id={run_id}&path=f") == (200, b"x")


def test_upload_below_a_chosen_folder_is_told_of_its_experiment(team) -> None:
    token = team.add("bob", "contributor", pattern="team/*")
    _, path = make(team, "team/x", "mlflow-artifacts:/some/where")
    assert team.ask(token, "PUT", f"{FILES}/{path}/f", b"x")[0] == 200
    told: list[Any] = [item for item in team.client.access.list_audit() if item.operation == "artifacts.upload"]
    assert [(item.subject, item.outcome) for item in told] == [("team/x", "OK")]


def test_refusal_does_not_tell_whose_the_folder_is(team) -> None:
    stranger = team.add("mal", "contributor", pattern="mal*")
    _, path = make(team, "hidden", "mlflow-artifacts:/some/where")
    for method in ("GET", "PUT", "DELETE"):
        status, answer = team.ask(stranger, method, f"{FILES}/{path}", b"x" if method == "PUT" else None)
        assert (status, "hidden" in json.dumps(answer)) == (403, False)


def test_run_id_of_ones_own_opens_no_folder_of_another(team) -> None:
    """Who begins a run may say its id, and call it as a folder of somebody else's is called."""
    folder = "0123456789abcdef" * 2
    make(team, "hidden", "mlflow-artifacts:/some/where")
    stranger = team.add("mal", "contributor", pattern="mal*")
    number, _ = make(team, "mal-x")
    with team.asked.context.write() as tx:
        create_run(tx, folder, experiment_id=int(number), run_name="r", user_id="", start_time=1, tags={})
    for path in (f"some/where/{folder}/artifacts", f"{folder}/artifacts"):
        assert what_may(team, stranger, path) == NOTHING
    assert team.client.transport.call(runs.GET_RUN, runs.OfRun(run_id=folder)).run.info.experiment_id == number
