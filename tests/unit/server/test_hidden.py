"""What a user hears of models and experiments that they are no viewer of: nothing, by whatever detour they ask."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from lockgate.entities import Content, MonitorWindow, Release
from lockgate.metadata import experiments, logged_models, models, runs, versions

MLFLOW = "/api/2.0/mlflow"
OWN = "/api/lockgate/1"
HIDDEN = ("secret/payroll", "Team/x", "team_x", "zzz")
SHOWN = ("a", "team/x", "team/y")
RUNS = {"secret/payroll": "e" * 32, "a": "a" * 32}
SEARCHES = ("registered-models/search", "model-versions/search", "experiments/search")


def body(**values: Any) -> bytes:
    return json.dumps(values).encode()


@pytest.fixture
def bob(team) -> str:
    """The token of who sees `a` and `team/*`; every name is an experiment and a model with one version."""
    with team.asked.context.write() as tx:
        for name in sorted((*HIDDEN, *SHOWN)):
            number = experiments.create_experiment(tx, name)
            models.create_model(tx, name)
            versions.create_version(tx, name, source=f"s3://{name}", run_id="")
            if name in RUNS:
                runs.create_run(tx, RUNS[name], experiment_id=number, run_name="r", user_id="u", start_time=1, tags={})
    token = team.add("bob", "contributor", pattern="a")
    team.client.access.grant_role("bob", "viewer", pattern="team/*")
    team.pass_time(1)
    return token


def pages(team, token: str, path: str, **query: str) -> list[tuple[list[str], str]]:
    """The names on each page, two at most, and what its token holds."""
    found, page_token = [], ""
    while not found or page_token:
        asked = urlencode({"max_results": 2, "page_token": page_token, **query})
        status, answer = team.ask(token, "GET", f"{MLFLOW}/{path}?{asked}")
        assert status == 200
        page_token = answer.get("next_page_token") or ""
        rows = next((value for value in answer.values() if isinstance(value, list)), [])
        found.append(([row["name"] for row in rows], base64.urlsafe_b64decode(page_token).decode("latin-1")))
    return found


@pytest.mark.parametrize("path", SEARCHES)
def test_a_search_pages_over_what_its_caller_sees_and_nothing_else(team, bob: str, path: str) -> None:
    order = {"order_by": "name ASC"}
    (first, token), (second, end) = pages(team, bob, path, **order)
    assert (first, second, end) == (["a", "team/x"], ["team/y"], "")
    assert "team/x" in token
    assert pages(team, team.add("nobody"), path, **order) == [([], "")]
    everything = pages(team, team.add("eve", "viewer"), path, **order)
    assert {*HIDDEN, *SHOWN} <= {name for names, _ in everything for name in names}


@pytest.mark.parametrize("path", SEARCHES)
def test_no_filter_tells_whether_something_hidden_matches(team, bob: str, path: str) -> None:
    for name in HIDDEN:
        assert pages(team, bob, path, filter=f"name = '{name}'", max_results="1") == [([], "")]
    assert pages(team, bob, path, filter="name LIKE '%x'", max_results="1") == [(["team/x"], "")]


def test_a_list_of_models_holds_what_its_caller_sees(team, bob: str) -> None:
    _, answer = team.ask(bob, "GET", f"{OWN}/registry/list-models")
    assert [item["name"] for item in answer["models"]] == list(SHOWN)


def test_refusal_does_not_tell_the_name_behind_an_id(team, bob: str) -> None:
    number = team.client.tracking.ensure_experiment("secret/payroll")
    for method, path, asked in (
        ("GET", f"{MLFLOW}/experiments/get?experiment_id={number}", None),
        ("GET", f"{MLFLOW}/runs/get?run_id={RUNS['secret/payroll']}", None),
        ("POST", f"{MLFLOW}/runs/search", body(experiment_ids=[number])),
        ("POST", f"{MLFLOW}/experiments/update", body(experiment_id=number, new_name="a")),
        ("POST", f"{MLFLOW}/runs/log-metric", body(run_id=RUNS["secret/payroll"], key="m", value=1, timestamp=1)),
    ):
        for _ in range(2):  # what is remembered is not told either
            status, answer = team.ask(bob, method, path, asked)
            assert (status, "on what was asked for and has none" in answer["message"]) == (403, True), path
            assert "payroll" not in str(answer)
    seen = team.client.tracking.ensure_experiment("team/x")
    _, answer = team.ask(bob, "POST", f"{MLFLOW}/runs/create", body(experiment_id=seen))
    assert answer["message"] == "'bob' needs the role contributor on 'team/x' and has viewer."


def test_file_of_a_hidden_version_run_or_model_does_not_tell_where_it_is(team, bob: str) -> None:
    with team.asked.context.write() as tx:
        away = experiments.create_experiment(tx, "away", artifact_location="s3://hidden-bucket/x")
        runs.create_run(tx, "f" * 32, experiment_id=away, run_name="r", user_id="u", start_time=1, tags={})
        log_model(tx, "m-" + "1" * 32, away)
    for method, path in (
        ("GET", "/model-versions/get-artifact?name=zzz&version=1&path=MLmodel"),
        ("GET", "/model-versions/get-artifact?name=zzz&version=9&path=MLmodel"),
        ("GET", "/model-versions/get-artifact?name=nothing&version=1&path=MLmodel"),
        ("GET", f"/get-artifact?run_id={'f' * 32}&path=f"),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={'f' * 32}&path=f"),
        ("GET", f"/ajax-api/2.0/mlflow/logged-models/m-{'1' * 32}/artifacts/files?artifact_file_path=f"),
    ):
        status, answer = team.ask(bob, method, path, b"x" if method == "POST" else None)
        assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED"), path
        assert "s3://" not in str(answer)


def test_models_of_a_run_are_those_in_experiments_that_are_seen(team, bob: str) -> None:
    numbers = {name: int(team.client.tracking.ensure_experiment(name)) for name in ("a", "secret/payroll")}
    with team.asked.context.write() as tx:
        for letter, name in (("1", "a"), ("2", "secret/payroll")):
            log_model(tx, f"m-{letter * 32}", numbers[name], run_id=RUNS["a"])
    _, answer = team.ask(bob, "GET", f"{OWN}/tracking/list-run-models?run_id={RUNS['a']}")
    assert [item["info"]["model_id"] for item in answer["models"]] == [f"m-{'1' * 32}"]


def test_logged_model_of_a_hidden_run_is_not_made(team, bob: str) -> None:
    number = team.client.tracking.ensure_experiment("a")
    statuses = {
        run_id: team.ask(bob, "POST", f"{MLFLOW}/logged-models", body(experiment_id=number, source_run_id=run_id))[0]
        for run_id in (RUNS["secret/payroll"], RUNS["a"], "0" * 32)  # the last is nowhere, which MLflow allows
    }
    assert statuses == {RUNS["secret/payroll"]: 403, RUNS["a"]: 200, "0" * 32: 200}


def test_logged_model_tells_of_no_hidden_model_that_it_is_registered_as(team, bob: str) -> None:
    model_id = "m-" + "1" * 32
    number = int(team.client.tracking.ensure_experiment("a"))
    with team.asked.context.write() as tx:
        log_model(tx, model_id, number)
        for name in ("a", "secret/payroll"):
            versions.create_version(tx, name, source=f"models:/{model_id}", run_id="", model_id=model_id)
    _, one = team.ask(bob, "GET", f"{MLFLOW}/logged-models/{model_id}")
    _, some = team.ask(bob, "POST", f"{MLFLOW}/logged-models/search", body(experiment_ids=[str(number)]))
    for found in (one["model"], *some["models"]):
        assert found["info"]["registrations"] == [{"name": "a", "version": "2"}]
        assert "payroll" not in str(found)


def test_window_of_a_hidden_model_is_not_answered_to_who_knows_its_id(team, bob: str, make_window) -> None:
    team.client.monitoring.record_window(make_window("w1", model="zzz", profile="d" * 64))
    status, answer = team.ask(bob, "POST", f"{OWN}/monitoring/record-window", body_of(make_window("w1", model="a")))
    assert (status, answer["message"]) == (403, "'bob' needs the role contributor on what was asked for and has none.")
    assert team.ask(bob, "POST", f"{OWN}/monitoring/record-window", body_of(make_window("w2", model="a")))[0] == 200


@pytest.mark.parametrize("named_by", ["release", "window"])
def test_profile_of_a_hidden_model_is_not_shown_to_who_knows_its_digest(
    team, bob: str, named_by: str, make_window
) -> None:
    theirs, new = "d" * 64, "e" * 64
    if named_by == "release":
        team.client.registry.create_release(a_release("zzz", "c" * 64, theirs))
    else:
        team.client.monitoring.record_window(make_window("w1", model="zzz", profile=theirs))
    paths = f"{OWN}/registry/create-release", f"{OWN}/monitoring/record-window"

    def name(profile: str) -> list[int]:
        named = body_of(a_release("a", "b" * 64, profile)), body_of(make_window("w2", model="a", profile=profile))
        return [team.ask(bob, "POST", path, asked)[0] for path, asked in zip(paths, named, strict=True)]

    assert name(theirs) == [403, 403]
    assert name(new) == [200, 200]
    team.client.access.grant_role("bob", "viewer", pattern="zzz")
    team.pass_time(1)
    assert name(theirs) == [200, 200]


def body_of(record: Release | MonitorWindow) -> bytes:
    return msgspec.json.encode({"release" if isinstance(record, Release) else "window": record})


def a_release(model: str, digest: str, profile: str) -> Release:
    content = Content(kind="tree", digest=digest, size_bytes=1)
    return Release(
        model=model,
        version=0,
        content=content,
        run_id="r" * 32,
        created_at=1,
        created_by="ann",
        flavor="sklearn",
        profile=profile,
    )


def log_model(tx: Any, model_id: str, experiment_id: int, run_id: str = "") -> None:
    logged_models.create_logged_model(
        tx, model_id, experiment_id=experiment_id, name="m", model_type="", source_run_id=run_id, params={}, tags={}
    )
