import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, insert, select

from lockgate.errors import Conflict, NotFound
from lockgate.metadata import migrate as module
from lockgate.metadata.database import DECISION, Where, open_engine
from lockgate.metadata.migrate import Migration, migrate, run_migrations
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import HEAD, KNOWN, current_revision, open_database


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


def first_rows(connection: Connection, *, fill: bool = False) -> dict[str, dict[str, Any]]:
    """A row of every table that has one; with `fill` one is put into those that have none."""
    schema = MetaData()
    schema.reflect(connection)
    rows: dict[str, dict[str, Any]] = {}
    for table in schema.sorted_tables:  # those that others point at first
        row = {}
        for column in table.columns:
            parent = next((key.column for key in column.foreign_keys), None)
            plain = "x" if column.type.python_type is str else column.type.python_type(1)
            row[column.name] = plain if parent is None else rows.get(parent.table.name, {}).get(parent.name)
        if fill and connection.execute(select(table)).first() is None:
            connection.execute(insert(table), row)
        if (found := connection.execute(select(table)).mappings().first()) is not None:
            rows[table.name] = dict(found)
    del rows["alembic_version"]
    return rows


@pytest.mark.parametrize("revision", KNOWN[:-1])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_rows_of_every_earlier_revision_are_there_after_the_upgrade(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, revision: str
) -> None:
    where: Where = tmp_path / "a.db"
    if kind == "postgres":
        where = parse_address(request.getfixturevalue("new_postgres_url"))
    engine = open_engine(where)
    run_migrations(engine, to=revision)
    with engine.connect().execution_options(**DECISION) as connection, connection.begin():
        before = first_rows(connection, fill=True)
    engine.dispose()
    assert len(before) > 20
    assert migrate(where, at_ms=5)[:2] == (revision, HEAD)
    database = open_database(where)
    with database.read() as connection:
        after = first_rows(connection)
    database.close()
    for table, row in before.items():
        assert {name: after[table][name] for name in row} == row


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
