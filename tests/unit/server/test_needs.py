"""Every route states what it needs, and it is refused to whoever lacks that: table-driven over all of them."""

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pytest

from lockgate.entities import Alert, Content, Grant, Release, Role, Rollout, RolloutTransition
from lockgate.errors import NotFound, PermissionDenied
from lockgate.metadata import alerts, experiments, logged_models, models, rollouts, runs, tokens, users, versions
from lockgate.metadata.releases import create_release
from lockgate.server.app import PUBLIC, make_app
from lockgate.server.caller import ROLES, Caller, Rights
from lockgate.server.context import AnyRoute, Context
from lockgate.server.needs import require
from lockgate.server.perform import perform
from lockgate.server.subjects import role_to_move_alias
from lockgate.server.table import BY_NAME, ROUTES
from lockgate.wire.registry import SetAlias

RUN = "r" * 32
LOGGED = "m-" + "1" * 32
# What the fields of requests are filled with, so that each request is about something that is there.
KNOWN: Mapping[str, Any] = {
    "experiment_id": "0",
    "experiment_ids": ("0",),
    "experiment_name": "Default",
    "run_id": RUN,
    "run_ids": (RUN,),
    "model_id": LOGGED,
    "rollout_id": "rollout",
    "alert_id": "alert",
    "token_id": "00112233aabb",
    "model": "churn",
    "name": "churn",
    "version": "1",
    "path": "0/file",
    "artifact_path": "0/file",
}
# Searches are reads that MLflow sends as POST.
READS = (
    "/experiments/search",
    "/experiments/search-datasets",
    "/runs/search",
    "/logged-models/search",
    "/registered-models/get-latest-versions",
    "/artifacts/presigned-download-url",
)


@pytest.fixture
def filled(context: Context) -> Context:
    with context.write() as tx:
        runs.create_run(tx, RUN, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        logged_models.create_logged_model(
            tx, LOGGED, experiment_id=0, name="m", model_type="", source_run_id=RUN, params={}, tags={}
        )
        models.create_model(tx, "churn")
        versions.create_version(tx, "churn", source="s", run_id="")
        rollouts.create_rollout(tx, a_rollout(), supersede=False)
        alert = Alert(alert_id="alert", model="churn", environment="e", kind="drift", summary="s", opened_at=1)
        alerts.open_alert(tx, alert)
        users.add_user(tx, "ada", password="", granted=[Grant(pattern="*", role="admin")])
        tokens.create_token(tx, "00112233aabb", "ada", digest="", note="", expires_at=None)
    return context


def a_rollout() -> Rollout:
    return Rollout(
        rollout_id="rollout",
        model="churn",
        environment="production",
        version=1,
        baseline_version=None,
        strategy="canary",
        steps=(100,),
        bake_s=1.0,
        false_rollback_rate=0.01,
        state="pending",
        step=-1,
        revision=0,
        created_at=1,
        created_by="ann",
        updated_at=1,
    )


def a_request(cls: type[msgspec.Struct]) -> Any:
    """A request with every field that it must have, and with those that say what it is about."""
    if cls is Release:
        content = Content(kind="tree", digest="a" * 64, size_bytes=1)
        return Release(
            model="churn", version=0, content=content, run_id=RUN, created_at=1, created_by="x", flavor="sklearn"
        )
    if cls is Rollout:
        return a_rollout()
    values = {
        field.encode_name: a_known(field.name, field.type) if field.name in KNOWN else a_value(field.type)
        for field in msgspec.structs.fields(cls)
        if field.required or field.name in KNOWN
    }
    return msgspec.convert(values, cls, strict=False)


def a_known(name: str, type_: Any) -> Any:
    """What is there under a name; some operations take several of what others take one."""
    value = KNOWN[name]
    return (value,) if get_origin(type_) is tuple and not isinstance(value, tuple) else value


def a_value(type_: Any) -> Any:
    """Some value of a type."""
    origin = get_origin(type_)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return msgspec.to_builtins(a_request(type_))
    if origin in (tuple, list, dict):
        return {} if origin is dict else []
    if origin is Literal:
        return get_args(type_)[0]
    if origin in (Union, UnionType, Annotated):
        return a_value(get_args(type_)[0])
    return {str: "x", int: 1, float: 1.0, bool: False}[type_]


def caller(role: Role | None, pattern: str = "*") -> Caller:
    return Caller("bob", "10.0.0.1", Rights((Grant(pattern=pattern, role=role),) if role else ()))


def is_allowed(route: AnyRoute, context: Context, who: Caller) -> bool:
    try:
        require(route.need, who, context.database, context.recent, a_request(route.operation.request))
    except PermissionDenied:
        return False
    return True


def is_open(route: AnyRoute) -> bool:
    """Whether nobody is refused: everybody may, or sees what is theirs."""
    return route.need.role is None


def test_role_on_the_installation_decides_and_a_higher_one_includes_it(filled: Context) -> None:
    wrong = []
    for route in ROUTES:
        least = route.need.role or "viewer"
        allowed = [role for role in ROLES if is_allowed(route, filled, caller(role))]
        if allowed != list(ROLES[ROLES.index(least) :]):
            wrong.append((route.operation.name, least, allowed))
    assert wrong == []


@pytest.mark.parametrize("who", [caller(None), caller("admin", "elsewhere*")], ids=["no role", "a role elsewhere"])
def test_user_without_a_role_here_is_refused(filled: Context, who: Caller) -> None:
    wrong = [route.operation.name for route in ROUTES if is_allowed(route, filled, who) != is_open(route)]
    assert wrong == []


def test_role_on_what_a_request_is_about_is_enough(filled: Context) -> None:
    wrong = []
    for route in ROUTES:
        if route.need.names is None:
            continue
        with filled.read() as connection:
            request = a_request(route.operation.request)
            names = route.need.names(connection, request)
            read = route.need.reads(connection, request) if route.need.reads else ()
        granted = {**dict.fromkeys(read, "viewer"), **dict.fromkeys(names, "admin")}
        rights = Rights(tuple(Grant(pattern=name, role=role) for name, role in granted.items()))
        if not names or not is_allowed(route, filled, Caller("bob", rights=rights)):
            wrong.append((route.operation.name, names))  # no names: the request is about nothing, fill it in KNOWN
    assert wrong == []


def test_a_trusted_caller_needs_nothing(filled: Context) -> None:
    assert [route.operation.name for route in ROUTES if not is_allowed(route, filled, Caller("ann"))] == []


def test_what_changes_something_is_never_a_viewers() -> None:
    changing = [
        route for route in ROUTES if route.operation.method != "GET" and not route.operation.path.endswith(READS)
    ]
    assert [r.operation.name for r in changing if r.need.role in (None, "viewer")] == []


def test_every_page_and_file_is_refused_to_a_user_without_a_role(team) -> None:
    token = team.add("bob")
    app = make_app(team.asked.context)
    operations = {route.operation.path for route in ROUTES if not route.operation.path_fields}
    asked = [
        (method, path, team.ask(token, method, path, None if method == "GET" else b"{}")[0])
        for route in app.router.routes
        if route.path.replace("/ajax-api/", "/api/") not in operations  # of which the other tests make sure
        for path in [re.sub(r"{\w+(:path)?}", "x", re.sub(r"{\w+:int}", "1", route.path))]
        for method in sorted((route.methods or {"GET"}) - {"HEAD"})
    ]
    app.close()
    open_to_all = {*PUBLIC, "/metrics", "/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"}
    assert [found for found in asked if found[2] not in (400, 403, 404, 501) and found[1] not in open_to_all] == []
    assert {("GET", "/", 403), ("GET", "/releases/x/1", 403)} <= set(asked)
    assert {method for method, path, status in asked if "artifacts" in path and status == 403} >= {"GET", "PUT"}


def test_a_move_of_a_rollout_is_judged_by_the_stored_one(filled: Context) -> None:
    # Nobody moves another team's rollout by claiming that it is about a model of their own.
    route = BY_NAME["delivery.advance_rollout"]
    moved = msgspec.structs.replace(a_rollout(), model="mine", state="progressing", revision=1)
    transition = RolloutTransition(
        rollout_id="rollout", revision=1, from_state="pending", to_state="progressing", step=0, at=1, by="x", reason="x"
    )
    request = route.operation.request(rollout=moved, transition=transition)
    with pytest.raises(PermissionDenied, match="on what was asked for"):
        perform(route, filled.on_behalf_of(caller("admin", "mine")), request)


@pytest.mark.parametrize(
    ("alias", "role"),
    [
        ("production", "approver"),
        ("Production", "approver"),
        ("champion", "approver"),
        ("CHAMPION", "approver"),
        ("mine", "contributor"),
    ],
)
@pytest.mark.parametrize("name", ["registry.set_alias", "mlflow:POST:registered-models/alias"])
def test_alias_that_rollouts_move_takes_an_approver(filled: Context, name: str, alias: str, role: Role) -> None:
    route = BY_NAME[name]
    request = msgspec.structs.replace(a_request(route.operation.request), alias=alias)
    need = route.need
    for pattern in ("*", "churn"):
        require(need, caller(role, pattern), filled.database, filled.recent, request)
        with pytest.raises(PermissionDenied, match=f"needs the role {role}"):
            require(need, caller(ROLES[ROLES.index(role) - 1], pattern), filled.database, filled.recent, request)


def test_run_that_is_begun_again_is_its_experiments_whatever_that_is_called(team) -> None:
    ann, bob = team.add("ann", "contributor", pattern="old"), team.add("bob", "contributor", pattern="new")
    path = "/api/lockgate/1/tracking/begin-run"
    begin = b'{"run_id": "%s", "experiment": "old", "start_time": 5}' % (b"a" * 32)
    assert [team.ask(token, "POST", path, begin)[0] for token in (bob, ann, ann)] == [403, 200, 200]
    with team.asked.context.write() as tx:
        experiments.rename_experiment(tx, 1, "new")
    assert [team.ask(token, "POST", path, begin)[0] for token in (bob, ann)] == [200, 403]


def test_alias_production_of_a_released_model_takes_an_approver(context: Context) -> None:
    request = SetAlias(model="churn", alias="production", version=1)
    assert role_to_move_alias_of(context, request) == "contributor"
    content = Content(kind="tree", digest="a" * 64, size_bytes=1, files=1)
    with context.write() as tx:
        release = Release(
            model="churn", version=0, content=content, run_id="", created_at=1, created_by="ann", flavor="sklearn"
        )
        create_release(tx, release, source="s")
    assert role_to_move_alias_of(context, request) == "approver"
    assert role_to_move_alias_of(context, msgspec.structs.replace(request, alias="staging")) == "contributor"


def role_to_move_alias_of(context: Context, request: SetAlias) -> Role:
    with context.read() as connection:
        return role_to_move_alias(connection, request)


def test_what_is_not_there_is_said_to_be_missing(filled: Context) -> None:
    route = BY_NAME["mlflow:GET:runs/get"]
    with pytest.raises(NotFound):
        perform(route, filled.on_behalf_of(caller("viewer", "churn")), route.operation.request(run_id="f" * 32))


def test_refusal_names_the_role_that_is_missing_and_how_to_get_it(filled: Context) -> None:
    route = BY_NAME["registry.approve"]
    with pytest.raises(PermissionDenied) as refused:
        perform(route, filled.on_behalf_of(caller("viewer", "churn")), a_request(route.operation.request))
    assert refused.value.message == "'bob' needs the role approver on 'churn' and has viewer."
    assert refused.value.hint == "an admin gives it: lockgate users grant bob approver --model churn"
