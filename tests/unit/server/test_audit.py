"""A decision leaves a line in the audit, in the transaction of the deed; what is refused or fails leaves one too."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.client.http import HttpTransport
from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.entities import AuditEntry
from lockgate.errors import NotFound
from lockgate.metadata.audit import list_audit
from lockgate.metadata.events import append_event, newest_events
from lockgate.metadata.runs import create_run
from lockgate.server.act import Act
from lockgate.server.app import make_app
from lockgate.server.caller import Caller
from lockgate.server.context import Context, open_context
from lockgate.server.local import LocalTransport
from lockgate.server.needs import contributor
from lockgate.server.run import serve_in_thread
from lockgate.server.subjects import of_name
from lockgate.wire.mlflow.registry import ModelName

MLFLOW = "/api/2.0/mlflow"
OWN = "/api/lockgate/1"


@pytest.fixture
def client(context: Context) -> Iterator[Client]:
    yield Client(LocalTransport(context), context.clock)


def entries(context: Context) -> list[AuditEntry]:
    """Oldest first."""
    with context.read() as connection:
        return list(reversed(list_audit(connection, limit=1000)))


def told(entry: AuditEntry) -> tuple[object, ...]:
    return entry.by, entry.operation, entry.subject, entry.outcome, entry.details


def test_decision_says_who_what_on_what_when_and_from_where(team) -> None:
    token = team.add("bob", "contributor")
    before = len(entries(team.asked.context))
    team.pass_time(5)
    assert team.ask(token, "POST", f"{MLFLOW}/registered-models/create", b'{"name": "churn"}')[0] == 200
    (made,) = entries(team.asked.context)[before:]
    assert told(made) == ("bob", "mlflow:POST:registered-models/create", "churn", "OK", {"name": "churn"})
    assert (made.at, made.address) == (team.clock.now_ms(), "127.0.0.1")


def test_refusal_and_failure_are_told_and_reads_are_not(team) -> None:
    context = team.asked.context
    viewer, contributor_ = team.add("eve", "viewer"), team.add("bob", "contributor")
    before = len(entries(context))
    tag = b'{"name": "none", "key": "k", "value": "v"}'
    assert team.ask(viewer, "POST", f"{MLFLOW}/registered-models/set-tag", tag)[0] == 403
    assert team.ask(contributor_, "POST", f"{MLFLOW}/registered-models/set-tag", tag)[0] == 404
    assert team.ask(viewer, "GET", f"{OWN}/access/list-users")[0] == 403
    assert team.ask(viewer, "GET", f"{MLFLOW}/registered-models/get?name=none")[0] == 404
    set_tag = "mlflow:POST:registered-models/set-tag"
    details = {"name": "none", "key": "k"}
    assert [told(entry) for entry in entries(context)[before:]] == [
        ("eve", set_tag, "none", "PERMISSION_DENIED", details),
        ("bob", set_tag, "none", "RESOURCE_DOES_NOT_EXIST", details),
        ("eve", "access.list_users", "", "PERMISSION_DENIED", {}),
    ]


def test_refusal_of_a_measurement_is_told(team) -> None:
    token = team.add("eve", "viewer")
    with team.asked.context.write() as tx:
        create_run(tx, "r" * 32, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={})
    metric = json.dumps({"run_id": "r" * 32, "key": "m", "value": 1, "timestamp": 1}).encode()
    before = len(entries(team.asked.context))
    for _ in range(4):
        assert team.ask(token, "POST", f"{MLFLOW}/runs/log-metric", metric)[0] == 403
    told_of = [told(entry)[:2] for entry in entries(team.asked.context)[before:]]
    assert told_of == [("eve", "mlflow:POST:runs/log-metric")] * 4


def test_measurements_are_not_told_one_by_one(client: Client, context: Context) -> None:
    run_id = client.tracking.create_run("0")
    before = entries(context)
    client.tracking.log_metrics(run_id, {"m": 1.0})
    client.tracking.log_batch(run_id, params={"p": "1"}, tags={"t": "1"})
    assert entries(context) == before


def test_command_on_the_projects_own_state_is_told_without_an_address(client: Client, context: Context) -> None:
    client.registry.ensure_model("churn")
    with pytest.raises(NotFound):
        client.registry.set_alias("churn", "champion", 7, reason="why not")
    details = {"model": "churn", "alias": "champion", "version": 7, "reason": "why not"}
    assert [(*told(entry), entry.address) for entry in entries(context)] == [
        ("server", "registry.ensure_model", "churn", "OK", {"model": "churn"}, ""),
        ("server", "registry.set_alias", "churn", "RESOURCE_DOES_NOT_EXIST", details, ""),
    ]


def test_line_and_deed_are_one_transaction(context: Context) -> None:
    acting = context.doing(Act("x", contributor(of_name), ModelName(name="churn")))
    with pytest.raises(RuntimeError), acting.write() as tx:
        append_event(tx, "kind", "subject")
        raise RuntimeError
    assert entries(context) == []
    with context.read() as connection:
        assert newest_events(connection, limit=1) == ()


def test_no_secret_is_ever_told(team) -> None:
    admin = team.client.access.create_token("ada").text
    team.pass_time(1)
    user = json.dumps({"user": "bob", "password": "my long password", "role": "viewer"}).encode()
    assert team.ask(admin, "POST", f"{OWN}/access/add-user", user)[0] == 200
    same = b'{"username": "bob", "password": "my long password", "current_password": "my long password"}'
    assert team.ask(admin, "PATCH", f"{MLFLOW}/users/update-password", same)[0] == 200
    _, made = team.ask(admin, "POST", f"{OWN}/access/create-token", b'{"user": "bob", "note": "laptop"}')
    with team.asked.context.read() as connection:
        dump = "\n".join(
            str(tuple(row))
            for table in ("audit", "events", "users", "tokens")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
        )
    assert "my long password" not in dump
    assert made["text"].rpartition("_")[2] not in dump
    assert {"user": "bob", "note": "laptop"} in [entry.details for entry in entries(team.asked.context)]


def test_server_forgets_what_is_older_than_it_is_told_to_keep(tmp_path: Path) -> None:
    clock = FakeClock()
    context = open_context(tmp_path / "kept", user="server", clock=clock)
    app = make_app(context, settings=Settings(audit_days=30))
    with serve_in_thread(app) as server:
        remote = Client(HttpTransport(server.url, user="ann"), clock)
        remote.registry.ensure_model("first")
        clock.sleep(30 * 86_400)
        remote.registry.ensure_model("second")
        assert [entry.subject for entry in remote.access.list_audit()] == ["second", "first"]
        clock.sleep(1)
        remote.registry.ensure_model("third")
        assert [entry.subject for entry in remote.access.list_audit()] == ["third", "second"]
        remote.close()
    app.close()
    context.close()


def test_audit_is_listed_by_model_user_and_time(client: Client, context: Context) -> None:
    clock = context.clock
    assert isinstance(clock, FakeClock)
    client.registry.ensure_model("churn")
    clock.sleep(10)
    other = Client(LocalTransport(context.on_behalf_of(Caller("bob"))), clock)
    other.registry.ensure_model("fraud")
    listed = client.access.list_audit
    assert [entry.subject for entry in listed()] == ["fraud", "churn"]
    assert [entry.subject for entry in listed(model="churn")] == ["churn"]
    assert [entry.subject for entry in listed(user="bob")] == ["fraud"]
    assert [entry.subject for entry in listed(since=clock.now_ms())] == ["fraud"]
    assert [entry.subject for entry in listed(limit=1)] == ["fraud"]
