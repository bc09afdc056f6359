"""`lockgate import mlflow` and `lockgate export mlflow` against servers on loopback."""

import errno
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lockgate.cli.exchange_progress import Lines
from lockgate.cli.main import lockgate
from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.errors import InvalidInput, LockgateError, NotFound, PermissionDenied, Unauthenticated
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread
from lockgate.wire.mlflow import logged_models, registry


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Client]]:
    context = open_context(tmp_path / "server", user="tester", clock=SystemClock())
    app = make_app(context, settings=Settings())
    with serve_in_thread(app) as running:
        yield running.url, Client(LocalTransport(context), SystemClock())
    app.close()
    context.close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    return folder


def invoke(project: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(lockgate, ["-C", str(project), *arguments], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, LockgateError):
        raise result.exception
    return result


def one_run(client: Client) -> None:
    run_id = client.tracking.create_run(client.tracking.ensure_experiment("trial"))
    client.tracking.log_metrics(run_id, {"loss": 0.5})


def test_import_prints_its_progress_and_an_equal_table(server: tuple[str, Client], project: Path) -> None:
    url, client = server
    one_run(client)
    result = invoke(project, "import", "mlflow", url)
    assert result.return_value == 0
    assert "runs of 'trial' (2 of 2)" in result.stderr and "\x1b" not in result.stderr
    assert "metric points" in result.stdout and "differs" not in result.stdout


def test_log_gets_a_line_a_phase_and_every_thousand_items(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as progress:
        for phase in ("runs", "models"):
            progress.phase(phase)
            progress.advance(items=0, points=5)
            for _ in range(2_001):
                progress.advance(points=2)
    said, shown = capsys.readouterr()
    assert (said, shown.splitlines()) == (
        "",
        [
            *("runs", "runs: 1000 done, 2005 points", "runs: 2000 done, 4005 points"),
            *("models", "models: 1000 done, 2005 points", "models: 2000 done, 4005 points"),
        ],
    )


BAR = """
from lockgate.cli.exchange_progress import Bar
with Bar() as progress:
    progress.phase("runs of 'a [b]'")
    progress.advance(points=2_000_000)
    progress.advance(items=1_500, points=7)
    progress.phase("logged models")
    progress.advance(items=3)
"""


def in_terminal(*command: str) -> tuple[str, str]:
    """What a program prints on stdout, and on a terminal as stderr."""
    ours, its_own = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=its_own, text=True, env=environment
    ) as process:
        os.close(its_own)
        shown = b""
        try:
            while piece := os.read(ours, 1 << 16):
                shown += piece
        except OSError as error:  # how Linux says that nobody writes any more
            assert error.errno == errno.EIO
        finally:
            os.close(ours)
        assert process.stdout is not None
        stdout = process.stdout.read()
    assert process.returncode == 0, shown
    return stdout, shown.decode()


def test_terminal_shows_what_is_done_until_it_is_over() -> None:
    stdout, shown = in_terminal("-c", BAR)
    assert stdout == ""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for words in ("runs of 'a [b]'", "0 done 0 points", "logged models", "3 done 0 points"):
        assert words in " ".join(plain.split()), shown
    assert shown.rstrip().endswith("\x1b[2K")  # the line is gone


def test_import_on_a_terminal_shows_a_bar_and_prints_no_lines(server: tuple[str, Client], project: Path) -> None:
    url, client = server
    one_run(client)
    command = ("-m", "lockgate", "-C", str(project), "import", "mlflow", url)
    stdout, shown = in_terminal(*command)
    assert "metric points" in stdout and "\x1b" not in stdout
    assert "runs of 'trial' (2 of 2)" in shown and "\x1b[2K" in shown
    assert json.loads(in_terminal(*command, "--json")[0])["equal"]


def test_there_and_back(server: tuple[str, Client], project: Path) -> None:
    url, client = server
    one_run(client)
    assert invoke(project, "import", "mlflow", url, "--json").return_value == 0
    result = invoke(project, "export", "mlflow", url, "--prefix", "back/", "--json")
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["equal"] and report["counts"]["metric points"] == {"source": 1, "target": 1}
    experiment = client.tracking.ensure_experiment("back/trial")
    assert len(client.tracking.search_runs([experiment]).runs) == 1


def test_what_is_missing_is_exit_code_1_and_named(server: tuple[str, Client], project: Path) -> None:
    """A version of a logged model that was deleted."""
    url, client = server
    call = client.transport.call
    made = call(logged_models.CREATE_LOGGED_MODEL, logged_models.CreateLoggedModel(experiment_id="0", name="net"))
    model_id = made.model.info.model_id
    call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="churn"))
    call(registry.CREATE_VERSION, registry.CreateVersion(name="churn", source=f"models:/{model_id}", model_id=model_id))
    call(logged_models.DELETE_LOGGED_MODEL, logged_models.OneLoggedModel(model_id=model_id))
    result = invoke(project, "import", "mlflow", url)
    assert result.return_value == 1
    assert f"refused: version 1 of churn: its source models:/{model_id}" in result.stderr
    assert re.search(r"versions +1 +0 +differs", result.stdout)


def test_one_token_is_not_sent_to_two_servers(
    server: tuple[str, Client], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = server
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    result = invoke(project, "--uri", url, "import", "mlflow", "http://127.0.0.1:9")
    assert isinstance(result.exception, InvalidInput)
    assert "LOCKGATE_TOKEN" in str(result.exception)


def test_what_is_missing_at_the_lockgate_server_is_said_before_anything_is_asked_of_the_other(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_context(tmp_path / "guarded", user="tester", clock=SystemClock())
    access = Client(LocalTransport(context), SystemClock()).access
    access.add_user("ada", role="admin")
    access.add_user("bob", role="contributor", pattern="churn")
    monkeypatch.setenv("OURS", access.create_token("bob").text)
    app, nobody = make_app(context, settings=Settings()), "http://127.0.0.1:9"
    with serve_in_thread(app) as running:
        for command in ("import", "export"):
            result = invoke(project, "--uri", running.url, command, "mlflow", nobody)
            assert isinstance(result.exception, Unauthenticated)
            assert result.exception.hint is not None and "LOCKGATE_TOKEN=env:NAME" in result.exception.hint
        monkeypatch.setenv("LOCKGATE_TOKEN", "env:OURS")
        result = invoke(project, "--uri", running.url, "import", "mlflow", nobody)
        assert isinstance(result.exception, PermissionDenied)
        assert "needs the role admin on this installation" in result.exception.message
        assert result.exception.hint == "an admin gives it: lockgate users grant bob admin"
    app.close()
    context.close()


@pytest.mark.parametrize(
    ("uri", "error", "said"),
    [
        ("ftp://host", InvalidInput, "neither a server"),
        ("sqlite:///nowhere/mlflow.db", NotFound, "does not exist"),
        ("file:///nowhere/mlruns", NotFound, "does not exist"),
        ("nowhere/mlruns", NotFound, "does not exist"),
    ],
)
def test_address_that_is_none_is_refused(project: Path, uri: str, error: type[LockgateError], said: str) -> None:
    result = invoke(project, "import", "mlflow", uri)
    assert isinstance(result.exception, error)
    assert said in str(result.exception)


@pytest.mark.parametrize(
    "uri", ["sqlite:///mlflow.db", "sqlite:////home/a@b/mlflow.db", "file:///mlruns", "ftp://host"]
)
def test_export_goes_to_the_address_of_a_server(project: Path, uri: str) -> None:
    result = invoke(project, "export", "mlflow", uri)
    assert isinstance(result.exception, InvalidInput)
    assert f"{uri!r} is not the address of a server; write http://HOST:PORT" in str(result.exception)


def test_store_that_mlflow_cannot_read_leads_to_a_server(project: Path, tmp_path: Path) -> None:
    broken = tmp_path / "mlflow.db"
    broken.write_text("no database")
    result = invoke(project, "import", "mlflow", f"sqlite:///{broken}")
    assert isinstance(result.exception, InvalidInput)
    assert f"mlflow server --backend-store-uri sqlite:///{broken}" in str(result.exception)


def test_artifacts_belong_to_a_store(project: Path) -> None:
    result = invoke(project, "import", "mlflow", "http://127.0.0.1:9", "--artifacts", "/tmp")
    assert isinstance(result.exception, InvalidInput)
