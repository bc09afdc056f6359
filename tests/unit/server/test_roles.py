"""What the roles mean to those who have them, over real HTTP: one operation of each kind, and grants on some models."""

import json
from typing import Any

import msgspec
import pytest

from lockgate.entities import Approval, Content, Release
from lockgate.metadata import logged_models

MLFLOW = "/api/2.0/mlflow"
OWN = "/api/lockgate/1"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


def body(**values: Any) -> bytes:
    return json.dumps(values).encode()


def a_release(model: str, digest: str, **more: str) -> Release:
    content = Content(kind="tree", digest=digest, size_bytes=1)
    made = Release(
        model=model, version=0, content=content, run_id="r" * 32, created_at=1, created_by="ann", flavor="sklearn"
    )
    return msgspec.structs.replace(made, **more)


@pytest.fixture
def released(team) -> Any:
    """A release of `churn`, and experiments named after it and after `fraud`."""
    team.client.registry.create_release(a_release("churn", "a" * 64))
    team.client.registry.ensure_model("fraud")
    for name in ("churn", "fraud"):
        team.client.tracking.ensure_experiment(name)
    return team


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (None, set()),
        ("viewer", {"read"}),
        ("contributor", {"read", "write"}),
        ("approver", {"read", "write", "approve"}),
        ("admin", {"read", "write", "approve", "manage", "delete"}),
    ],
)
def test_each_role_may_do_its_kind_of_operation_and_those_below(released, role, allowed: set[str]) -> None:
    token = released.add("bob", role)
    approval = body(
        approval={"model": "churn", "version": 1, "environment": "e", "approver": "x", "approved_at": 1, "comment": ""}
    )
    asked = {
        "read": ("GET", f"{OWN}/registry/get-model?model=churn", None),
        "write": ("POST", f"{MLFLOW}/registered-models/set-tag", body(name="churn", key="k", value="v")),
        "approve": ("POST", f"{OWN}/registry/approve", approval),
        "manage": ("POST", f"{OWN}/access/add-user", body(user="eve", role="viewer")),
        "delete": ("DELETE", f"{MLFLOW}/registered-models/delete", body(name="fraud")),
    }
    answers = {kind: released.ask(token, *what) for kind, what in asked.items()}
    assert {kind: status for kind, (status, _) in answers.items()} == {
        kind: 200 if kind in allowed else 403 for kind in asked
    }
    for _, answer in (found for found in answers.values() if found[0] == 403):
        assert answer["error_code"] == "PERMISSION_DENIED"
        assert "needs the role" in answer["message"]


def test_grant_on_a_name_covers_the_model_and_the_experiment_of_it_and_no_other(released) -> None:
    token = released.add("bob", "contributor", pattern="churn")
    numbers = {name: released.client.tracking.ensure_experiment(name) for name in ("churn", "fraud")}
    statuses = {}
    for name, number in numbers.items():
        status, answer = released.ask(token, "POST", f"{MLFLOW}/runs/create", body(experiment_id=number))
        run_id = answer["run"]["info"]["run_id"] if status == 200 else released.client.tracking.create_run(number)
        metric = body(run_id=run_id, key="m", value=1, timestamp=1)
        statuses[name] = [
            status,
            released.ask(token, "POST", f"{MLFLOW}/runs/log-metric", metric)[0],
            released.ask(token, "POST", f"{MLFLOW}/runs/search", body(experiment_ids=[number]))[0],
            released.ask(token, "PUT", f"{FILES}/{number}/{run_id}/artifacts/file", b"x")[0],
            released.ask(token, "GET", f"{FILES}/{number}/{run_id}/artifacts/file")[0],
            released.ask(token, "POST", f"{MLFLOW}/registered-models/set-tag", body(name=name, key="k", value="v"))[0],
        ]
    assert statuses == {"churn": [200] * 6, "fraud": [403] * 6}
    both = body(experiment_ids=list(numbers.values()))
    assert released.ask(token, "POST", f"{MLFLOW}/runs/search", both)[0] == 403


def test_role_that_is_lost_is_lost_within_a_second_in_the_middle_of_a_run(released) -> None:
    token = released.add("bob", "contributor", pattern="churn")
    number = released.client.tracking.ensure_experiment("churn")
    run_id = released.client.tracking.create_run(number)

    def log(**values: Any) -> int:
        request = body(run_id=run_id, key="m", value=1, timestamp=1, **values)
        return released.ask(token, "POST", f"{MLFLOW}/runs/log-metric", request)[0]

    assert [log(), log(), log(model_id="m-" + "0" * 32)] == [200, 200, 404]
    released.client.access.revoke_role("bob", pattern="churn")
    released.pass_time(1)
    assert log() == 403


def test_experiment_that_is_renamed_is_another_after_a_second(released) -> None:
    token = released.add("bob", "contributor", pattern="churn")
    number = released.client.tracking.ensure_experiment("churn")
    run_id = released.client.tracking.create_run(number)
    metric = body(run_id=run_id, key="m", value=1, timestamp=1)
    assert released.ask(token, "POST", f"{MLFLOW}/runs/log-metric", metric)[0] == 200
    admin = released.client.access.create_token("ada").text
    renamed = body(experiment_id=number, new_name="theirs")
    assert released.ask(admin, "POST", f"{MLFLOW}/experiments/update", renamed)[0] == 200
    released.pass_time(1)
    assert released.ask(token, "POST", f"{MLFLOW}/runs/log-metric", metric)[0] == 403


def test_lists_show_what_their_reader_may_see(released) -> None:
    some, everything = released.add("bob", "viewer", pattern="ch*"), released.add("eve", "viewer")

    def names(token: str) -> list[list[str]]:
        _, searched = released.ask(token, "GET", f"{MLFLOW}/registered-models/search?max_results=10")
        _, listed = released.ask(token, "GET", f"{OWN}/registry/list-models")
        _, versions = released.ask(token, "GET", f"{MLFLOW}/model-versions/search?max_results=10")
        _, experiments = released.ask(token, "POST", f"{MLFLOW}/experiments/search", body(max_results=10))
        found = (
            searched.get("registered_models", ()),
            listed.get("models", ()),
            versions.get("model_versions", ()),
            experiments.get("experiments", ()),
        )
        return [sorted(item["name"] for item in items) for items in found]

    assert names(some) == [["churn"], ["churn"], ["churn"], ["churn"]]
    assert names(everything) == [["churn", "fraud"], ["churn", "fraud"], ["churn"], ["Default", "churn", "fraud"]]


def test_nobody_reaches_into_what_is_not_theirs_by_a_detour(released) -> None:
    token = released.add("bob", "admin", pattern="churn")
    other = released.client.tracking.create_run(released.client.tracking.ensure_experiment("fraud"))
    theirs = released.client.tracking.ensure_experiment("fraud")
    _, made = released.ask(
        token, "POST", f"{MLFLOW}/runs/create", body(experiment_id=released.client.tracking.ensure_experiment("churn"))
    )
    own_run = made["run"]["info"]["run_id"]
    their_model = "m-" + "1" * 32
    with released.asked.context.write() as tx:
        logged_models.create_logged_model(
            tx, their_model, experiment_id=int(theirs), name="m", model_type="", source_run_id=other, params={}, tags={}
        )
    detours = [
        # a location that is the folder of another experiment
        ("POST", f"{MLFLOW}/experiments/create", body(name="churn", artifact_location=f"mlflow-artifacts:/{theirs}")),
        # renaming into a name that is not covered
        ("POST", f"{MLFLOW}/registered-models/rename", body(name="churn", new_name="fraud2")),
        ("POST", f"{MLFLOW}/experiments/update", body(experiment_id=theirs, new_name="churn")),
        # a metric of one's own run that is said of another's model
        (
            "POST",
            f"{MLFLOW}/runs/log-metric",
            body(run_id=own_run, key="m", value=1, timestamp=1, model_id=their_model),
        ),
        ("GET", f"{FILES}/content/{'b' * 64}/model", None),
        ("GET", f"{FILES}/other/file", None),
        # the same folder, spelled otherwise
        *(("GET", f"{FILES}/{start}{theirs}/file", None) for start in ("./", ".//", "././")),
        *(("PUT", f"{FILES}/{start}{theirs}/file", b"x") for start in ("./", ".//", "././")),
        *(("GET", f"{FILES}?path={path}", None) for path in (".", f"./{theirs}", f".//{theirs}")),
        ("GET", f"{FILES}/./content//{'b' * 64}/model", None),
        ("GET", f"{FILES}?path=", None),
        ("GET", f"{OWN}/events/list-events", None),
        ("GET", "/", None),
        ("POST", f"{OWN}/access/grant-role", body(user="bob", role="admin", pattern="fraud")),
    ]
    assert [(what[:2], status) for what in detours if (status := released.ask(token, *what)[0]) != 403] == []


def test_version_is_made_only_from_what_its_maker_may_see(released) -> None:
    """The answer tells the run and the content of what it is made from."""
    mine = released.add("bob", "contributor", pattern="fraud")
    both = released.add("eve", "contributor", pattern="fraud")
    released.client.access.grant_role("eve", "viewer", pattern="churn")
    released.pass_time(1)
    model_id = "m-" + "1" * 32
    with released.asked.context.write() as tx:
        of_churn = int(released.client.tracking.ensure_experiment("churn"))
        logged_models.create_logged_model(
            tx, model_id, experiment_id=of_churn, name="m", model_type="", source_run_id="", params={}, tags={}
        )
    released.client.registry.set_alias("churn", "best", 1)
    path = f"{MLFLOW}/model-versions/create"
    for source in (
        {"source": "models:/churn/1"},
        {"source": "Models:///churn/1"},
        {"source": "models:/churn/latest"},
        {"source": "models:/churn@best"},
        {"source": f"models:/{model_id}", "model_id": model_id},
        {"source": "s3://bucket/x", "model_id": model_id},
    ):
        status, answer = released.ask(mine, "POST", path, body(name="fraud", **source))
        assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED"), source
        # a name that the request did not bring is not told
        where = "'churn'" if "churn" in source["source"] else "what was asked for"
        assert answer["message"] == f"'bob' needs the role viewer on {where} and has none."
        assert released.ask(both, "POST", path, body(name="fraud", **source))[0] == 200, source
    assert released.ask(mine, "POST", path, body(name="fraud", source="models:/fraud/1"))[0] == 200
    assert released.ask(both, "POST", path, body(name="churn", source="models:/fraud/1"))[0] == 403


def test_released_content_is_read_by_who_may_see_a_model_that_has_it(released) -> None:
    mine, others = released.add("bob", "viewer", pattern="churn"), released.add("eve", "viewer", pattern="fraud")
    path = f"{FILES}?path=content/{'a' * 64}"
    assert released.ask(others, "GET", path)[0] == 403
    assert released.ask(mine, "GET", path)[0] != 403


def test_content_that_another_team_releases_too_stays_readable(released) -> None:
    mine = released.add("bob", "viewer", pattern="churn")
    path = f"{FILES}?path=content/{'a' * 64}"
    before = released.ask(mine, "GET", path)
    released.client.registry.create_release(a_release("fraud", "a" * 64))
    assert released.ask(mine, "GET", path) == before
    assert before[0] != 403


@pytest.mark.parametrize("kind", ["content", "report", "profile"])
def test_release_names_nothing_that_only_hidden_models_have(released, kind: str) -> None:
    # whoever sees a release reads what it names, at /reports/MODEL/1/report.html for instance
    theirs = "b" * 64
    released.client.registry.create_release(a_release("fraud", "c" * 64, report=theirs))
    mine = a_release("churn", theirs) if kind == "content" else a_release("churn", "d" * 64, **{kind: theirs})
    request = msgspec.json.encode({"release": mine})
    bob = released.add("bob", "contributor", pattern="churn")
    both = released.add("eve", "contributor", pattern="churn")
    released.client.access.grant_role("eve", "viewer", pattern="fraud")
    released.pass_time(1)
    status, answer = released.ask(bob, "POST", f"{OWN}/registry/create-release", request)
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
    assert "fraud" not in str(answer)
    assert released.ask(both, "POST", f"{OWN}/registry/create-release", request)[0] == 200
    assert released.ask(bob, "POST", f"{OWN}/registry/create-release", request)[0] == 200  # it is churn's by now


def test_pages_are_for_who_may_see_their_model(released) -> None:
    mine, others = released.add("bob", "viewer", pattern="churn"), released.add("eve", "viewer", pattern="fraud")
    assert released.ask(mine, "GET", "/releases/churn/1")[0] == 200
    assert released.ask(mine, "GET", "/releases/churn/2")[0] == 404
    status, page = released.ask(others, "GET", "/releases/churn/1")
    assert status == 403
    assert b"needs the role viewer" in page


def test_users_see_and_change_what_is_their_own(released) -> None:
    token = released.add("bob", "viewer", password="correct horse battery")
    status, made = released.ask(token, "POST", f"{OWN}/access/create-token", body(user="bob"))
    assert status == 200
    assert released.ask(token, "POST", f"{OWN}/access/create-token", body(user="ada"))[0] == 403
    assert released.ask(token, "GET", f"{OWN}/access/list-tokens?user=bob")[0] == 200
    assert released.ask(token, "GET", f"{OWN}/access/list-tokens")[0] == 403
    adas = released.client.access.list_tokens("ada")[0].token_id
    assert released.ask(token, "POST", f"{OWN}/access/revoke-token", body(token_id=adas))[0] == 403
    mine = made["token"]["token_id"]
    assert released.ask(token, "POST", f"{OWN}/access/revoke-token", body(token_id=mine))[0] == 200
    set_password = f"{OWN}/access/set-password"
    assert released.ask(token, "POST", set_password, body(user="ada", password="x" * 20))[0] == 403
    status, answer = released.ask(token, "POST", set_password, body(user="bob", password="x" * 20))
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    right = body(user="bob", password="x" * 20, current="correct horse battery")
    assert released.ask(token, "POST", set_password, right)[0] == 200


def test_first_password_is_set_by_an_admin_so_that_a_stolen_token_does_not_become_one(released) -> None:
    ci, eve = released.add("ci", "approver"), released.add("eve", "admin")

    def set_password(token: str, user: str) -> int:
        asked = body(user=user, password="x" * 20)
        status: int = released.ask(token, "POST", f"{OWN}/access/set-password", asked)[0]
        return status

    assert set_password(ci, "ci") == 403
    assert not released.client.access.get_user("ci").has_password
    assert set_password(eve, "ci") == 200
    assert set_password(eve, "eve") == 200


def test_there_is_always_an_admin_where_there_are_users(team) -> None:
    bob = team.add("bob", "viewer")
    for name, request in (
        ("remove-user", {"user": "ada"}),
        ("revoke-role", {"user": "ada"}),
        ("grant-role", {"user": "ada", "role": "viewer"}),
    ):
        admin = team.client.access.create_token("ada").text
        team.pass_time(1)
        status, answer = team.ask(admin, "POST", f"{OWN}/access/{name}", body(**request))
        assert (status, answer["error_code"]) == (409, "RESOURCE_CONFLICT"), name
    assert team.ask(bob, "POST", f"{OWN}/access/grant-role", body(user="bob", role="admin"))[0] == 403


def test_the_first_user_is_an_admin(asked) -> None:
    path = f"{OWN}/access/add-user"
    status, answer, _ = asked.ask("POST", path, body(user="bob", role="viewer"))
    assert (status, answer["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert asked.ask("POST", path, body(user="ada", role="admin"))[0] == 200


@pytest.mark.parametrize("name", ["", " ada", "a:b", "a\nb", "x" * 257])
def test_name_that_cannot_log_in_is_refused(asked, name: str) -> None:
    status, answer, _ = asked.ask("POST", f"{OWN}/access/add-user", body(user=name, role="admin"))
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("pattern", ["", "*churn", "ch*rn", "x" * 257])
def test_pattern_is_a_name_or_the_beginning_of_names(team, pattern: str) -> None:
    admin = team.client.access.create_token("ada").text
    team.pass_time(1)
    request = body(user="ada", role="viewer", pattern=pattern)
    assert team.ask(admin, "POST", f"{OWN}/access/grant-role", request)[0] == 400


def test_what_is_decided_after_a_login_is_its_users_whatever_name_it_brings(released) -> None:
    token = released.add("bob", "admin")
    claimed = Approval(
        model="churn", version=1, environment="production", approver="the boss", approved_at=1, comment="fine"
    )
    request = msgspec.json.encode({"approval": claimed})
    status, answer = released.ask(token, "POST", f"{OWN}/registry/approve", request, {"X-Lockgate-User": "the boss"})
    assert (status, answer["approval"]["approver"]) == (200, "bob")
    assert [given.approver for given in released.client.registry.list_approvals("churn", 1)] == ["bob"]
    assert released.client.registry.approve(claimed).approver == "the boss"  # in this process it is the user's word


def test_only_an_admin_asks_for_fewer_approvals_than_one_person_could_give(released) -> None:
    tokens = {role: released.add(role, role, pattern="churn") for role in ("contributor", "approver", "admin")}
    released.client.registry.declare_environments("churn", {"staging": 1, "production": 2}, may_loosen=False)
    last = released.client.events.list_events()[-1].sequence

    def declare(role: str, **approvals: int) -> tuple[int, Any]:
        request = body(model="churn", approvals=approvals, may_loosen=True)
        return released.ask(tokens[role], "POST", f"{OWN}/registry/declare-environments", request)

    assert declare("contributor", staging=1, production=2)[0] == 403
    for fewer in ({"staging": 1, "production": 1}, {"staging": 1}, {}, {"production": 2, "staging": 1}):
        status, answer = declare("approver", **fewer)
        assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
        assert "only an admin of churn may ask for fewer approvals" in answer["message"]
    assert declare("approver", staging=0, production=2)[0] == 200
    assert declare("admin", staging=0, production=0)[0] == 200
    changed = [event.details["changed"] for event in released.client.events.list_events(after=last)]
    assert changed == ["staging: 1 -> 0", "production: 2 -> 0, champion: 2 -> 0"]
    newest = released.client.access.list_audit(model="churn", limit=4)
    assert [(line.by, line.outcome, line.details["changed"]) for line in newest] == [
        ("admin", "OK", "production: 2 -> 0, champion: 2 -> 0"),
        ("approver", "OK", "staging: 1 -> 0"),
        ("approver", "PERMISSION_DENIED", "champion: 2 -> 1"),
        ("approver", "PERMISSION_DENIED", "staging: 1 -> none, production: 2 -> 0, champion: 2 -> 0"),
    ]


def test_approval_has_the_time_of_the_server_where_everybody_logs_in(released) -> None:
    token = released.add("bob", "approver")
    claimed = Approval(model="churn", version=1, environment="production", approver="bob", approved_at=5)
    released.ask(token, "POST", f"{OWN}/registry/approve", msgspec.json.encode({"approval": claimed}))
    (given,) = released.client.registry.list_approvals("churn", 1)
    assert given.approved_at == released.clock.now_ms()
