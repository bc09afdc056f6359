import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lockgate.errors import Conflict, NotFound
from lockgate.metadata import migrate as module
from lockgate.metadata.database import open_engine
from lockgate.metadata.migrate import Migration, migrate
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import HEAD, current_revision, open_database


def test_database_at_head_is_left_alone(tmp_path: Path) -> None:
    open_database(tmp_path / "a.db").close()
    assert migrate(tmp_path / "a.db", at_ms=5) == (HEAD, HEAD, None)
    assert [path.name for path in tmp_path.glob("*.backup")] == []


def test_older_database_is_copied_and_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")  # an empty database is what is before the first revision
    done = migrate(path, at_ms=5)
    assert (done.from_revision, done.to_revision) == (None, HEAD)
    assert done.backup == tmp_path / "a.db.empty-5.backup"
    assert done.backup.is_file()
    open_database(path).close()


def test_failed_upgrade_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    sqlite3.connect(path).close()
    path.touch()

    def refuse(connection: object) -> None:
        raise Conflict("no")

    monkeypatch.setattr(module, "_require_consistent", refuse)
    with pytest.raises(Conflict):
        migrate(path, at_ms=5)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_newer_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(Conflict, match="9999"):
        migrate(path, at_ms=5)
    assert list(tmp_path.glob("*.backup")) == []


def test_missing_database_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        migrate(tmp_path / "none.db", at_ms=5)
    assert not (tmp_path / "none.db").exists()


def test_empty_database_of_postgresql_is_upgraded_without_a_copy(new_postgres_url: str) -> None:
    where = parse_address(new_postgres_url)
    assert migrate(where, at_ms=5) == (None, HEAD, None)
    assert migrate(where, at_ms=5) == (HEAD, HEAD, None)
    open_database(where).close()


def test_failed_upgrade_changes_nothing_on_postgresql(new_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(connection: object) -> None:
        raise Conflict("no")

    where = parse_address(new_postgres_url)
    monkeypatch.setattr(module, "_require_consistent", refuse)
    with pytest.raises(Conflict):
        migrate(where, at_ms=5)
    engine = open_engine(where)
    assert current_revision(engine) is None
    engine.dispose()


def test_two_that_migrate_at_once_do_it_once(new_postgres_url: str) -> None:
    where = parse_address(new_postgres_url)
    start = threading.Barrier(2)
    done: list[Migration] = []

    def run() -> None:
        start.wait()
        done.append(migrate(where, at_ms=5))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {item.to_revision for item in done} == {HEAD}
    assert len(done) == 2
    open_database(where).close()


def test_newer_database_of_postgresql_is_not_touched(postgres: Any) -> None:
    url = postgres.create_database()
    open_database(parse_address(url)).close()
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=parse_address(url).database)
    with pytest.raises(Conflict, match="9999"):
        migrate(parse_address(url), at_ms=5)
