"""`lockgate users`, `tokens` and `audit`, on the project's own state and on a server that asks for a login."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lockgate.cli.app import App
from lockgate.cli.approve import approve
from lockgate.cli.audit import audit, parse_since
from lockgate.cli.tokens import tokens
from lockgate.cli.users import users
from lockgate.clock import FakeClock
from lockgate.entities import Content, Release
from lockgate.errors import Conflict, InvalidInput, PermissionDenied, Unauthenticated
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.login import FRESH_S
from lockgate.server.passwords import verify_password
from lockgate.server.run import serve_in_thread

PASSWORD = "correct horse battery"
TOKEN = re.compile(r"lockgate_[0-9a-f]{12}_[0-9a-f]{64}")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def app(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    (tmp_path / "lockgate.yaml").write_text(
        "model: churn\ntask: regression\nenvironments: {production: {promote: {approvals: 1}}}\n"
    )
    found = App(start=tmp_path, clock=clock)
    yield found
    found.client.close()


def run(command: object, app: App, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command, arguments, obj=app, input=stdin, catch_exceptions=False)  # type: ignore[arg-type]


def test_user_is_added_with_a_password_from_standard_input_and_listed(app: App) -> None:
    assert "no users: nobody logs in" in run(users, app).output
    assert run(users, app, "add", "ada", "--role", "admin", stdin=f"{PASSWORD}\n").output == "added ada: admin.\n"
    ci = run(users, app, "add", "ci", "--role", "contributor", "--model", "team/*", "--no-password")
    assert ci.output == "added ci: contributor on team/*.\nnext: lockgate tokens create ci\n"
    assert [user["name"] for user in json.loads(run(users, app, "--json").output)] == ["ada", "ci"]
    listed = run(users, app).output
    assert PASSWORD not in listed
    assert re.search(r"ci +contributor on team/\* +no ", listed)
    with app.client.transport.context.read() as connection:  # type: ignore[attr-defined]
        stored = connection.exec_driver_sql("SELECT password FROM users WHERE name = 'ada'").scalar()
    assert verify_password(PASSWORD, str(stored))


def test_password_is_asked_for_twice_on_a_terminal_and_never_shown(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: regression\n")
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "lockgate", "-C", str(tmp_path), "users", "add", "ada", "--role", "admin"]
    started = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    shown = b""
    for prompt in (b"Password of ada: ", b"Repeat for confirmation: "):
        while prompt not in shown:
            shown += os.read(controller, 1024)
        os.write(controller, f"{PASSWORD}\n".encode())
    while b"added ada" not in shown:
        shown += os.read(controller, 1024)
    assert started.wait(timeout=60) == 0
    os.close(controller)
    assert PASSWORD.encode() not in shown


def test_missing_password_is_said(app: App) -> None:
    with pytest.raises(InvalidInput, match="standard input has no password"):
        run(users, app, "add", "ada", "--role", "admin", stdin="")


def test_there_is_no_option_that_would_take_a_password() -> None:
    for command in [users, *users.commands.values()]:
        options = [name for option in command.params for name in option.opts if name.startswith("--")]
        assert "--password" not in options


def test_roles_are_granted_and_revoked_and_users_removed(app: App) -> None:
    run(users, app, "add", "ada", "--role", "admin", "--no-password")
    run(users, app, "add", "bob", "--no-password")
    assert run(users, app, "grant", "bob", "approver", "--model", "churn").output == "bob: viewer, approver on churn.\n"
    assert run(users, app, "revoke", "bob").output == "bob: approver on churn.\n"
    assert run(users, app, "revoke", "bob", "--model", "churn").output == "bob: no role left.\n"
    assert run(users, app, "password", "bob", stdin=f"{PASSWORD}\n").output == "bob has a new password.\n"
    assert run(users, app, "remove", "bob").output == "removed bob.\n"
    run(users, app, "add", "eve", "--no-password")
    with pytest.raises(Conflict, match="no admin"):
        run(users, app, "remove", "ada")


def test_token_is_printed_once_and_revoked(app: App, clock: FakeClock) -> None:
    run(users, app, "add", "ci", "--role", "admin", "--no-password")
    made = run(tokens, app, "create", "ci", "--note", "nightly", "--days", "1")
    (text,) = TOKEN.findall(made.stdout)
    assert made.stdout == f"{text}\n"  # so that it can be put into a variable
    assert "until 2023-11-15 22:13:20 UTC; it is not shown again" in made.stderr
    listed = run(tokens, app).output
    assert text not in listed
    assert text.split("_")[1] in listed
    assert "nightly" in listed
    clock.sleep(86_400)
    assert "(expired)" in run(tokens, app).output
    assert run(tokens, app, "revoke", text.split("_")[1]).exit_code == 0
    assert run(tokens, app).output == "no tokens.\n"
    assert "until it is revoked" in run(tokens, app, "create", "ci", "--days", "0").stderr


def test_whole_token_is_revoked_by_its_id_and_shown_nowhere(app: App) -> None:
    run(users, app, "add", "ci", "--role", "admin", "--no-password")
    (text,) = TOKEN.findall(run(tokens, app, "create", "ci").stdout)
    with pytest.raises(InvalidInput, match="not the id of a token") as refused:
        run(tokens, app, "revoke", text[:-1])
    assert text[-8:-1] not in str(refused.value)
    assert run(tokens, app, "revoke", text).output == f"revoked {text.split('_')[1]}.\n"
    assert run(tokens, app).output == "no tokens.\n"
    assert text.split("_")[2][:8] not in run(audit, app, "--json").output


def test_days_of_a_token_are_limited(app: App) -> None:
    assert "'--days': 99999999 is not in the range" in run(tokens, app, "create", "--days", "99999999").output


def test_next_command_after_a_user_can_be_pasted(app: App) -> None:
    run(users, app, "add", "ada", "--role", "admin", "--no-password")
    assert "next: lockgate tokens create 'a b'\n" in run(users, app, "add", "a b", "--no-password").output


def test_audit_is_printed_and_filtered(app: App, clock: FakeClock) -> None:
    assert run(audit, app).output == "nothing was decided yet.\n"
    app.client.registry.ensure_model("churn")
    clock.sleep(3600)
    app.client.registry.ensure_model("fraud")
    entries = json.loads(run(audit, app, "--json").output)
    assert [(entry["operation"], entry["subject"]) for entry in entries] == [
        ("registry.ensure_model", "fraud"),
        ("registry.ensure_model", "churn"),
    ]
    assert [entry["subject"] for entry in json.loads(run(audit, app, "--since", "30m", "--json").output)] == ["fraud"]
    line = r"2023-11-14 22:13:20  \S+  OK  registry.ensure_model churn model=churn\n"
    assert re.fullmatch(line, run(audit, app, "--model", "churn").output)
    assert run(audit, app, "--user", "nobody").output == "there is nothing such.\n"


def test_audit_is_read_page_by_page(app: App) -> None:
    assert app.client.access.list_audit() == []
    for number in range(4):
        app.client.registry.ensure_model(f"m{number}")
    page = run(audit, app, "--limit", "2")
    assert "model=m3" in page.stdout
    assert page.stderr == "for older ones add --before 3\n"
    page = run(audit, app, "--limit", "2", "--before", "3")
    assert "model=m1" in page.stdout
    assert page.stderr == "for older ones add --before 1\n"
    assert run(audit, app, "--limit", "2", "--before", "1").output == "there is nothing such.\n"
    entries = json.loads(run(audit, app, "--before", "3", "--json").output)
    assert [(entry["sequence"], entry["subject"]) for entry in entries] == [(2, "m1"), (1, "m0")]


def test_since_is_a_duration_or_a_date() -> None:
    assert parse_since("7d", now=7 * 86_400_000 + 5) == 5
    assert parse_since("1970-01-02", now=0) == 86_400_000
    assert parse_since("1970-01-01T01:00:00+01:00", now=0) == 0
    with pytest.raises(InvalidInput, match="no time"):
        parse_since("yesterday", now=0)


def test_a_server_that_asks_for_a_login_takes_the_token_and_records_its_user(
    app: App, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_context(tmp_path / "served", user="server", clock=clock)
    api = make_app(context)
    with serve_in_thread(api) as server:
        remote = App(start=tmp_path, uri=server.url, clock=clock)
        run(users, remote, "add", "ada", "--role", "admin", "--no-password")
        content = Content(kind="tree", digest="a" * 64, size_bytes=1)
        release = Release(
            model="churn", version=0, content=content, run_id="r" * 32, created_at=1, created_by="x", flavor="sklearn"
        )
        remote.client.registry.create_release(release)
        (text,) = TOKEN.findall(run(tokens, remote, "create", "ada").stdout)
        clock.sleep(FRESH_S)
        with pytest.raises(Unauthenticated, match="asks for a login") as refused:
            run(users, remote)
        assert "MLFLOW_TRACKING_TOKEN" in (refused.value.hint or "")
        remote.client.close()

        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", text)
        ada = App(start=tmp_path, uri=server.url, clock=clock)
        approved = run(approve, ada, "churn@1", "--for", "production")
        assert approved.output == "ada approved churn@1 for production: 1 of 1 needed.\n"
        run(users, ada, "add", "bob", "--role", "viewer", "--no-password")
        bobs = run(tokens, ada, "create", "bob").stdout.strip()
        ada.client.close()

        # by reference, as a setting; what bob may not see he is not shown
        (tmp_path / "token").write_text(f"{bobs}\n")
        monkeypatch.setenv("LOCKGATE_TOKEN", f"file:{tmp_path / 'token'}")
        bob = App(start=tmp_path, uri=server.url, clock=clock)
        assert [token["user"] for token in json.loads(run(tokens, bob, "--json").output)] == ["bob"]
        with pytest.raises(PermissionDenied, match="needs the role approver"):
            run(approve, bob, "churn@1", "--for", "production")
        bob.client.close()
    api.close()
    context.close()


def test_stages_of_a_run_log_to_it_though_there_are_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of another server")
    (tmp_path / "log.py").write_text("import lockgate\nlockgate.log_metrics({'loss': 0.5})\n")
    (tmp_path / "lockgate.yaml").write_text(
        f"model: churn\ntask: regression\nstages: {{log: {{cmd: {sys.executable} log.py, deps: [log.py]}}}}\n"
    )
    for arguments in (("users", "add", "ada", "--role", "admin", "--no-password"), ("run", "--no-gates")):
        command = [sys.executable, "-m", "lockgate", "-C", str(tmp_path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    with App(start=tmp_path).client as client:
        (run,) = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
    assert [metric.value for metric in run.data.metrics] == [0.5]
