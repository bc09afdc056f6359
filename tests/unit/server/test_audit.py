"""A decision leaves a line in the audit, in the transaction of the deed; what is refused or fails leaves one too."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest
from msgspec.structs import replace
from sqlalchemy import func, insert, select

from lockgate.client.client import Client
from lockgate.client.http import HttpTransport
from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.entities import AuditEntry, Content, Release, Rollout
from lockgate.errors import InvalidInput, LockgateError, NotFound, StorageFull
from lockgate.metadata.audit import list_audit
from lockgate.metadata.events import append_event, newest_events
from lockgate.metadata.runs import create_run
from lockgate.metadata.tables import audit
from lockgate.server.act import Act
from lockgate.server.app import make_app
from lockgate.server.caller import Caller
from lockgate.server.context import Context
from lockgate.server.files import store_file
from lockgate.server.local import LocalTransport
from lockgate.server.needs import contributor
from lockgate.server.run import serve_in_thread
from lockgate.server.subjects import of_name
from lockgate.wire.mlflow.registry import RENAME_MODEL, ModelName, RenameModel

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


def test_measurements_are_told_once_an_hour_for_each_user_operation_and_run(team) -> None:
    context = team.asked.context
    ann, bob = team.add("ann", "contributor"), team.add("bob", "contributor")
    for run_id in ("a" * 32, "b" * 32):
        with context.write() as tx:
            create_run(tx, run_id, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={})
    before = len(entries(context))

    def log(token: str, run_id: str, *, key: str = "m") -> int:
        metric = json.dumps({"run_id": run_id, "key": key, "value": 1, "timestamp": 1}).encode()
        return team.ask(token, "POST", f"{MLFLOW}/runs/log-metric", metric)[0]

    def told_since() -> list[tuple[str, object]]:
        return [(entry.by, entry.details["run_id"]) for entry in entries(context)[before:]]

    hour = [("ann", "a" * 32), ("bob", "a" * 32), ("ann", "b" * 32)]
    for n in range(3):
        assert [log(ann, "a" * 32, key=f"m{n}"), log(bob, "a" * 32), log(ann, "b" * 32)] == [200] * 3
    assert told_since() == hour
    assert {(entry.operation, entry.subject, entry.outcome, entry.address) for entry in entries(context)[before:]} == {
        ("mlflow:POST:runs/log-metric", "Default", "OK", "127.0.0.1")
    }
    tag = json.dumps({"run_id": "a" * 32, "key": "k", "value": "v"}).encode()
    assert team.ask(ann, "POST", f"{MLFLOW}/runs/set-tag", tag)[0] == 200
    assert told_since() == [*hour, ("ann", "a" * 32)]
    team.pass_time(3600)
    assert [log(ann, "a" * 32), log(ann, "a" * 32)] == [200] * 2
    assert told_since() == [*hour, ("ann", "a" * 32), ("ann", "a" * 32)]


def test_measurement_that_failed_leaves_the_line_to_the_next(client: Client, context: Context) -> None:
    run_id = client.tracking.create_run("0")
    before = entries(context)
    for _ in range(2):
        with pytest.raises(InvalidInput):
            client.tracking.log_batch(run_id, params={"p": "1", "": "no key"})
        assert entries(context) == before
    client.tracking.log_batch(run_id, params={"p": "1"})
    (line,) = entries(context)[len(before) :]
    assert told(line) == ("server", "mlflow:POST:runs/log-batch", "Default", "OK", {"run_id": run_id})


def test_upload_is_told_and_so_is_one_that_is_refused(team) -> None:
    context = team.asked.context
    ann, eve = team.add("ann", "contributor"), team.add("eve", "viewer")
    before = len(entries(context))
    proxy = "/api/2.0/mlflow-artifacts/artifacts"
    assert team.ask(ann, "PUT", f"{proxy}/0/r/artifacts/model.pkl", b"1")[0] == 200
    assert team.ask(ann, "PUT", f"{proxy}/0/r/artifacts/model.pkl", b"2")[0] == 200
    assert team.ask(eve, "PUT", f"{proxy}/0/r/artifacts/model.pkl", b"3")[0] == 403
    assert team.ask(ann, "PUT", f"{proxy}/content/{'a' * 64}/model.pkl", b"3")[0] == 403
    assert team.ask(ann, "PUT", f"{proxy}/0/../../model.pkl", b"3")[0] == 400
    assert team.ask(eve, "GET", f"{proxy}/0/r/artifacts/model.pkl")[:2] == (200, b"2")
    of_file = {"artifact_path": "0/r/artifacts/model.pkl"}
    assert [told(entry) for entry in entries(context)[before:]] == [
        ("ann", "artifacts.upload", "Default", "OK", of_file),
        ("ann", "artifacts.upload", "Default", "OK", of_file),
        ("eve", "artifacts.upload", "Default", "PERMISSION_DENIED", of_file),
        ("ann", "artifacts.upload", "", "PERMISSION_DENIED", {"artifact_path": f"content/{'a' * 64}/model.pkl"}),
    ]


class BrokenDisk:
    """A store that takes everything and keeps nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def begin(self, path: str, **announced: object) -> "BrokenDisk":
        return self

    def write(self, data: bytes) -> None:
        pass

    def commit(self, digest: str) -> NoReturn:
        raise self.error

    def abort(self) -> None:
        pass


@pytest.mark.parametrize("error", [StorageFull("the disk is full."), OSError(5, "input/output error")])
def test_upload_that_fails_at_the_very_end_is_told_to_have_failed(
    context: Context, tmp_path: Path, error: Exception
) -> None:
    (tmp_path / "f.txt").write_text("x")
    failing: Any = BrokenDisk(error)
    with pytest.raises(type(error)):
        store_file(replace(context, artifacts=failing), "0/r/artifacts/f.txt", tmp_path / "f.txt")
    assert [(entry.operation, entry.outcome) for entry in entries(context)] == [
        ("artifacts.upload", "OK"),
        ("artifacts.upload", getattr(error, "code", LockgateError.code)),
    ]


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


def test_line_says_what_was_made(team) -> None:
    token = team.add("bob", "contributor")
    before = len(entries(team.asked.context))
    source = b'{"name": "churn", "source": "s3://b/x"}'
    team.ask(token, "POST", f"{MLFLOW}/registered-models/create", b'{"name": "churn"}')
    team.ask(token, "POST", f"{MLFLOW}/model-versions/create", source)
    _, made = team.ask(token, "POST", f"{OWN}/access/create-token", b'{"user": "bob", "note": "laptop"}')
    release = Release(
        model="churn",
        version=0,
        content=Content(kind="tree", digest="a" * 64, size_bytes=1),
        run_id="r",
        created_at=1,
        created_by="",
        flavor="sklearn",
    )
    team.client.registry.create_release(release)
    assert [entry.details for entry in entries(team.asked.context)[before:]] == [
        {"name": "churn"},
        {"name": "churn", "version": 1},
        {"user": "bob", "note": "laptop", "token_id": made["token"]["token_id"]},
        {"model": "churn", "run_id": "r", "version": 2},
    ]


def test_line_says_why_gates_were_overridden(client: Client, context: Context) -> None:
    rollout = Rollout(
        rollout_id="r1",
        model="churn",
        environment="production",
        version=1,
        baseline_version=None,
        strategy="replace",
        steps=(100,),
        bake_s=0.0,
        false_rollback_rate=0.01,
        state="pending",
        step=-1,
        revision=0,
        created_at=1,
        created_by="",
        updated_at=1,
        override_reason="a leak",
    )
    client.registry.ensure_model("churn")
    with pytest.raises(NotFound):
        client.delivery.create_rollout(rollout)
    assert entries(context)[-1].details["override_reason"] == "a leak"


def test_rename_is_told_under_both_names(client: Client) -> None:
    client.registry.ensure_model("churn")
    client.transport.call(RENAME_MODEL, RenameModel(name="churn", new_name="team/churn"))
    (there,) = client.access.list_audit(model="team/churn")
    before, _ = client.access.list_audit(model="churn")
    assert there.details == before.details == {"name": "churn", "new_name": "team/churn"}
    client.transport.call(RENAME_MODEL, RenameModel(name="team/churn", new_name="team/churn"))
    assert len(client.access.list_audit(model="team/churn")) == 2


def test_what_is_refused_before_it_writes_is_told(team) -> None:
    token = team.add("bob", "admin", password="correct horse battery")
    before = len(entries(team.asked.context))
    stage = b'{"name": "m", "version": "x", "stage": "Production"}'
    described = b'{"name": "m", "version": "x", "description": "d"}'
    guess = b'{"user": "bob", "password": "another long one", "current": "a guess"}'
    assert team.ask(token, "POST", f"{MLFLOW}/model-versions/transition-stage", stage)[0] == 400
    assert team.ask(token, "PATCH", f"{MLFLOW}/model-versions/update", described)[0] == 400
    assert team.ask(token, "POST", f"{OWN}/access/remove-user", b'{"user": "bob"}')[0] == 409
    assert team.ask(token, "POST", f"{OWN}/access/set-password", guess)[0] == 400
    assert [(entry.operation, entry.outcome) for entry in entries(team.asked.context)[before:]] == [
        ("mlflow:POST:model-versions/transition-stage", "INVALID_PARAMETER_VALUE"),
        ("mlflow:PATCH:model-versions/update", "INVALID_PARAMETER_VALUE"),
        ("access.remove_user", "RESOURCE_CONFLICT"),
        ("access.set_password", "INVALID_PARAMETER_VALUE"),
    ]


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
    told_of_it = {"user": "bob", "note": "laptop", "token_id": made["token"]["token_id"]}
    assert told_of_it in [entry.details for entry in entries(team.asked.context)]


@pytest.mark.parametrize("caller", ["owner", "admin", "stranger"])
def test_whole_token_is_told_by_its_id_alone(team, caller: str) -> None:
    mine, others = team.add("bob", "viewer"), team.add("eve", "viewer")
    admin = team.add("root", "admin")
    secret, token_id = mine.split("_")[2], mine.split("_")[1]
    asks = {"owner": mine, "admin": admin, "stranger": others}[caller]
    path = f"{OWN}/access/revoke-token"
    for text in (f"{mine} ", mine[:-4]):  # badly copied: as good as the token itself
        status, answer = team.ask(asks, "POST", path, json.dumps({"token_id": text}).encode())
        assert (status, secret[:-4] in str(answer)) == (400, False)
    before = len(entries(team.asked.context))
    status, answer = team.ask(asks, "POST", path, json.dumps({"token_id": mine}).encode())
    assert secret not in str(answer)
    (line,) = entries(team.asked.context)[before:]
    if caller == "stranger":
        assert (status, line.outcome) == (403, "PERMISSION_DENIED")
        assert line.details == {"token_id": f"lockgate_{token_id}_***"}
    else:
        assert (status, line.outcome) == (200, "OK")
        assert secret not in str(line.details)
    assert not any(secret[:-4] in str(entry) for entry in entries(team.asked.context))


def test_token_in_a_text_is_not_told(team) -> None:
    token = team.add("bob", "admin")
    asked = json.dumps({"user": "bob", "note": "x" * 230 + token}).encode()
    assert team.ask(token, "POST", f"{OWN}/access/create-token", asked)[0] == 200
    assert str(entries(team.asked.context)[-1].details["note"]).endswith(f"xlockgate_{token.split('_')[1]}_***")


def test_server_forgets_what_is_older_than_it_is_told_to_keep(context: Context) -> None:
    clock = context.clock
    assert isinstance(clock, FakeClock)
    app = make_app(context, settings=Settings(audit_days=30))
    with serve_in_thread(app) as server:
        remote = Client(HttpTransport(server.url, user="ann"), clock)
        remote.registry.ensure_model("first")
        clock.sleep(30 * 86_400 + 3600)
        remote.registry.ensure_model("second")
        assert [entry.subject for entry in remote.access.list_audit()] == ["second", "first"]
        clock.sleep(1)
        remote.registry.ensure_model("third")
        clock.sleep(86_400 - 1)
        remote.registry.ensure_model("fourth")
        assert [entry.subject for entry in remote.access.list_audit()] == ["fourth", "third", "second", "first"]
        clock.sleep(1)
        remote.registry.ensure_model("fifth")
        assert [entry.subject for entry in remote.access.list_audit()] == ["fifth", "fourth", "third", "second"]
        remote.close()
    app.close()


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


class Ticking(FakeClock):
    """Two looks at it never find the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._ticks = itertools.count()

    def now_ms(self) -> int:
        return super().now_ms() + next(self._ticks)


def test_lines_of_decisions_at_the_same_time_have_times_in_their_order(context: Context) -> None:
    act = Act("x", contributor(of_name), ModelName(name="churn"))
    asked = replace(context, clock=Ticking()).doing(act)

    def decide_often() -> None:
        for _ in range(20):
            with asked.write():
                pass

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(decide_often) for _ in range(4)]:
            done.result()
    times = [entry.at for entry in entries(context)]
    assert len(times) == 80
    assert sorted(times) == times


def test_writers_at_the_same_time_forget_different_lines(context: Context) -> None:
    """Who waits for the rows of another, which waits for his, forgets nothing and is thrown back."""
    with context.write() as tx:
        line = {"by": "a", "address": "", "operation": "o", "subject": "", "outcome": "OK", "details": "{}"}
        tx.connection.execute(insert(audit), [{"at": 1, **line} for _ in range(40_000)])
        tx.connection.execute(insert(audit), {"at": tx.at - 86_400_000, **line})
    act = Act("x", contributor(of_name), ModelName(name="churn"))
    writer = replace(context, audit_days=1)

    def tell_often() -> None:
        for _ in range(16):
            writer.tell(act)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(tell_often) for _ in range(4)]:
            done.result()
    with context.read() as connection:
        assert (
            connection.scalar(select(func.count()).select_from(audit).where(audit.c.at == 1)) == 40_000 - 4 * 16 * 500
        )


def test_few_of_very_many_old_lines_are_forgotten_at_a_time(context: Context) -> None:
    client = Client(LocalTransport(replace(context, audit_days=1)), context.clock)
    with context.write() as tx:
        line = {"by": "a", "address": "", "operation": "o", "subject": "", "outcome": "OK", "details": "{}"}
        tx.connection.execute(insert(audit), [{"at": 1, **line} for _ in range(1200)])
        tx.connection.execute(insert(audit), {"at": tx.at - 86_400_000, **line})
    counts = []
    for name in ("a", "b", "c"):
        client.registry.ensure_model(name)
        with context.read() as connection:
            counts.append(connection.scalar(select(func.count()).select_from(audit)))
    assert counts == [702, 203, 4]
