import json
import socket
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.doctor import (
    check_address,
    check_database,
    check_disk,
    check_extra,
    check_git,
    check_ports,
    check_writable,
)
from lockgate.cli.main import lockgate
from lockgate.config import Settings
from lockgate.errors import InvalidInput
from lockgate.metadata.schema import HEAD, open_database


def invoke(folder: Path, *options: str) -> tuple[dict[str, dict[str, str]], BaseException | None]:
    result = CliRunner().invoke(lockgate, ["-C", str(folder), "doctor", "--json", *options])
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


def test_database_of_another_version_wants_a_migration(tmp_path: Path) -> None:
    path = tmp_path / "lockgate.db"
    open_database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    finding = check_database(path)
    assert (finding.status, finding.advice) == ("fail", "lockgate migrate")


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
