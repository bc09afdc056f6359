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
from lockgate.metadata.metrics import history
from lockgate.metadata.migrate import Migration, migrate, run_migrations
from lockgate.metadata.points import log_points
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
            if column.identity is not None and column.identity.always:
                continue  # which PostgreSQL numbers itself
            parent = next((key.column for key in column.foreign_keys), None)
            plain = "x" if column.type.python_type is str else column.type.python_type(1)
            row[column.name] = plain if parent is None else rows.get(parent.table.name, {}).get(parent.name)
        if fill and connection.execute(select(table)).first() is None:
            connection.execute(insert(table), row)
        if (found := connection.execute(select(table)).mappings().first()) is not None:
            rows[table.name] = dict(found)
    del rows["alembic_version"]
    return rows


@pytest.fixture(params=["sqlite", "postgres"])
def empty(tmp_path: Path, request: pytest.FixtureRequest) -> Where:
    """Where nothing is, of both kinds."""
    if request.param == "postgres":
        return parse_address(request.getfixturevalue("new_postgres_url"))
    return tmp_path / "a.db"


@pytest.mark.parametrize("revision", KNOWN[:-1])
def test_rows_of_every_earlier_revision_are_there_after_the_upgrade(empty: Where, revision: str) -> None:
    engine = open_engine(empty)
    run_migrations(engine, to=revision)
    with engine.connect().execution_options(**DECISION) as connection, connection.begin():
        before = first_rows(connection, fill=True)
    engine.dispose()
    assert len(before) > 20
    assert migrate(empty, at_ms=5)[:2] == (revision, HEAD)
    database = open_database(empty)
    with database.read() as connection:
        after = first_rows(connection)
    database.close()
    # Since 0006 the history knows a series by its number, which is in the latest value.
    assert after["metrics"]["series"] == after["latest_metrics"]["series"]
    of_latest = {name: after["latest_metrics"][name] for name in ("run_id", "key")}
    after["metrics"] |= of_latest
    for table, row in before.items():
        assert {name: after[table][name] for name in row} == row


def test_histories_are_those_of_their_runs_after_the_upgrade_that_numbers_them(empty: Where) -> None:
    engine = open_engine(empty)
    run_migrations(engine, to="0005")
    keys, runs = ("b", "a", "loss"), ("2" * 32, "1" * 32)
    with engine.connect().execution_options(**DECISION) as connection, connection.begin():
        schema = MetaData()
        schema.reflect(connection)
        for number, run_id in enumerate(runs):
            run = dict.fromkeys(("run_name", "user_id", "status", "artifact_uri"), "x")
            run |= {"run_id": run_id, "experiment_id": 0, "start_time": 1, "lifecycle_stage": "active"}
            connection.execute(insert(schema.tables["runs"]), run)
            for place, key in enumerate(keys):
                series = {"run_id": run_id, "key": key, "is_nan": place == 0}
                rows = [
                    {**series, "value": float(number), "timestamp": step, "step": step} for step in range(place + 1)
                ]
                connection.execute(insert(schema.tables["metrics"]), rows)
                connection.execute(insert(schema.tables["latest_metrics"]), rows[-1])
    engine.dispose()
    migrate(empty, at_ms=5)
    database = open_database(empty)
    for key in (*keys, "new"):
        with database.write(at=1, by="a", decision=False) as tx:
            log_points(tx, runs[0], [(key, 9.0, 99, 99)])
    with database.read() as connection:
        for number, run_id in enumerate(runs):
            for place, key in enumerate(keys):
                old = [(step, step, float(number), int(place == 0)) for step in range(place + 1)]
                assert history(connection, run_id, key) == old + [(99, 99, 9.0, 0)] * (number == 0)
        assert history(connection, runs[0], "new") == [(99, 99, 9.0, 0)]
        assert history(connection, runs[1], "new") == []
    database.close()


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
