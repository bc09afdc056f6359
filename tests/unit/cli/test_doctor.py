import json
import socket
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.doctor import (
    check_address,
    check_artifacts,
    check_database,
    check_disk,
    check_extra,
    check_git,
    check_ports,
    check_writable,
)
from lockgate.cli.main import lockgate
from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.entities import Grant
from lockgate.errors import InvalidInput
from lockgate.metadata.schema import HEAD, KNOWN, open_database
from lockgate.metadata.users import add_user
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread


def invoke(folder: Path, **settings: str) -> tuple[dict[str, dict[str, str]], BaseException | None]:
    environ = {f"LOCKGATE_{name.upper()}": value for name, value in settings.items()}
    result = CliRunner().invoke(lockgate, ["-C", str(folder), "doctor", "--json"], env=environ)
    return {finding["check"]: finding for finding in json.loads(result.output)}, result.exception


def test_healthy_project_is_ok(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: regression\n")
    found, error = invoke(tmp_path)
    assert error is None
    assert found["project"]["status"] == found["state"]["status"] == found["database"]["status"] == "ok"
    assert not (tmp_path / ".lockgate").exists()


def test_without_a_project_it_warns_and_checks_the_rest(tmp_path: Path) -> None:
    found, error = invoke(tmp_path)
    assert error is None
    assert (found["project"]["status"], found["project"]["advice"]) == ("warn", "lockgate init")
    assert found["disk"]["status"] in ("ok", "warn", "fail")


def test_broken_project_file_fails_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntsk: regression\n")
    found, error = invoke(tmp_path)
    assert isinstance(error, InvalidInput)
    assert "project" in str(error)
    assert "lockgate.yaml:2: unknown key 'tsk'" in found["project"]["found"]


def test_each_line_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(lockgate, ["-C", str(tmp_path), "doctor"])
    assert "warn  project" in result.output
    assert "next: lockgate init" in result.output


def test_database_of_this_version_is_ok(tmp_path: Path) -> None:
    assert check_database(tmp_path / "lockgate.db").status == "ok"
    open_database(tmp_path / "lockgate.db").close()
    finding = check_database(tmp_path / "lockgate.db")
    assert (finding.status, finding.found) == ("ok", f"revision {HEAD}")


@pytest.mark.parametrize(
    ("revision", "advice"),
    [
        (KNOWN[0], "lockgate migrate"),
        ("0099", "install the version of Lockgate that wrote it, or a later one"),
        ("ab12cd", "give it one of its own"),
    ],
)
def test_database_of_another_version_wants_what_helps(tmp_path: Path, revision: str, advice: str) -> None:
    path = tmp_path / "lockgate.db"
    open_database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()
    finding = check_database(path)
    assert (finding.status, finding.advice) == ("fail", advice)


def test_database_of_another_program_whose_revision_is_called_like_ours_fails(tmp_path: Path) -> None:
    path = tmp_path / "lockgate.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [HEAD])
    connection.close()
    finding = check_database(path)
    assert (finding.status, finding.found) == ("fail", f"{path} is not a database of Lockgate.")


def test_server_and_its_token_are_tried(tmp_path: Path) -> None:
    found, error = invoke(tmp_path, uri="http://ann:SECRET@127.0.0.1:9")
    assert isinstance(error, InvalidInput)
    assert found["server"]["status"] == "fail"
    assert "127.0.0.1:9 cannot be reached" in found["server"]["found"]
    assert "SECRET" not in json.dumps(found)
    context = open_context(tmp_path / "theirs", user="server", clock=SystemClock())
    with context.write() as tx:
        add_user(tx, "ann", password="", granted=[Grant(pattern="*", role="admin")])
    app = make_app(context, settings=Settings())
    with serve_in_thread(app) as server:
        found, error = invoke(tmp_path, uri=server.url)
        assert (found["server"]["status"], type(error)) == ("fail", InvalidInput)
        token = Client(LocalTransport(context), SystemClock()).access.create_token("ann").text
        (tmp_path / "token").write_text(token)
        found, error = invoke(tmp_path, uri=server.url, token=f"file:{tmp_path / 'token'}")
        assert (found["server"]["found"], error) == ("it answers ann", None)
    app.close()
    context.close()


def test_place_for_artifacts_is_tried(tmp_path: Path, s3_url: str) -> None:
    assert check_artifacts(s3_url) == ("artifacts", "ok", "they can be read", "")
    assert check_artifacts(s3_url.replace("s3://", "s3://no-")).status == "fail"
    assert check_artifacts("s3://").status == "fail"
    (tmp_path / "file").write_text("")
    assert check_artifacts(str(tmp_path / "new")).status == "ok"
    assert not (tmp_path / "new").exists()
    assert check_artifacts(str(tmp_path / "file")).status == "fail"


def test_file_that_is_no_database_fails(tmp_path: Path) -> None:
    (tmp_path / "lockgate.db").write_text("not a database, but long enough to be looked at " * 100)
    finding = check_database(tmp_path / "lockgate.db")
    assert (finding.status, finding.advice) == ("fail", "restore lockgate.db from a backup")


def test_database_that_a_full_disk_kept_from_being_made_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "lockgate.db").touch()
    assert check_database(tmp_path / "lockgate.db") == ("database", "ok", "none yet", "")


def test_tables_of_another_program_fail(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "lockgate.db") as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    finding = check_database(tmp_path / "lockgate.db")
    assert (finding.status, finding.advice) == ("fail", "restore it from a copy")
    assert "no such table: alembic_version" in finding.found


def test_records_in_postgresql_are_looked_at(postgres_url: str, new_postgres_url: str) -> None:
    environ = {"PLACE": postgres_url}
    assert check_address("env:PLACE", environ=environ) == ("database", "ok", f"revision {HEAD}", "")
    assert check_address(new_postgres_url, environ={}) == ("database", "ok", "none yet", "")
    absent = check_address("postgresql://me:secret@127.0.0.1:1/records", environ={})
    assert absent.status == "fail"
    assert "postgresql://me:***@127.0.0.1:1/records cannot be used" in absent.found
    assert check_address("env:ELSEWHERE", environ=environ).status == "fail"


def test_state_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / ".lockgate").write_text("a file where the folder should be")
    assert check_writable(tmp_path / ".lockgate").status == "fail"
    assert check_writable(tmp_path / "not" / "yet" / "there").status == "ok"


def test_taken_port_is_a_warning_with_the_setting_to_change() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        api, _ = check_ports(Settings(api_port=port, serve_port=0))
    assert api.status == "warn"
    assert "LOCKGATE_API_PORT" in api.advice


def test_missing_extra_says_how_to_install_it() -> None:
    finding = check_extra("x", "a_module_that_nobody_has", "something")
    assert (finding.status, finding.advice) == ("warn", "pip install 'lockgate[x]', if you need it")


def test_folder_without_repository_loses_the_commit(tmp_path: Path) -> None:
    finding = check_git(tmp_path)
    assert finding.status == "warn"
    assert finding.advice in ("git init", "install git")


@pytest.mark.parametrize("folder", ["", "not/there/yet"])
def test_disk_is_measured_where_the_state_will_be(tmp_path: Path, folder: str) -> None:
    assert "GiB free" in check_disk(tmp_path / folder).found
