import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, MetaData, insert, select

from lockgate.errors import Conflict, NotFound, PermissionDenied
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


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file at an earlier revision."""
    path = tmp_path / "a.db"
    make_old(path)
    return path


def make_old(where: Where) -> None:
    engine = open_engine(where)
    run_migrations(engine, to="0005")
    engine.dispose()


def revision_of(where: Where) -> str | None:
    engine = open_engine(where)
    revision = current_revision(engine)
    engine.dispose()
    return revision


def change(where: Where, sql: str) -> None:
    engine = open_engine(where)
    with engine.connect().execution_options(**DECISION) as connection, connection.begin():
        connection.exec_driver_sql(sql)
    engine.dispose()


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_copy_may_be_read_by_who_may_read_the_database(old: Path, mode: int) -> None:
    old.chmod(mode)
    backup = migrate(old, at_ms=5).backup
    assert backup is not None
    assert backup.stat().st_mode & 0o777 == mode


CUT_SHORT = """
import pathlib, resource, signal, sys
from lockgate.metadata.migrate import migrate
signal.signal(signal.SIGXFSZ, signal.SIG_DFL if sys.argv[2] == "killed" else signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
migrate(pathlib.Path(sys.argv[1]), at_ms=4)
"""


@pytest.mark.parametrize("how", ["killed", "refused"])
def test_copy_that_is_cut_short_does_not_look_like_one_and_does_not_stay(old: Path, how: str) -> None:
    assert old.stat().st_size > 100_000
    process = subprocess.run([sys.executable, "-c", CUT_SHORT, str(old), how], capture_output=True, check=False)
    assert process.returncode != 0
    left = {path.name for path in old.parent.iterdir() if "backup" in path.name}
    assert not [name for name in left if name.endswith(".backup")]
    assert bool(left) == (how == "killed")
    assert revision_of(old) == "0005"
    assert migrate(old, at_ms=5).to_revision == HEAD
    assert [path.name for path in old.parent.iterdir() if "backup" in path.name] == ["a.db.0005-5.backup"]


KILLED = """
import os, pathlib, signal, sys
from lockgate.metadata import migrate
kill = lambda connection: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "before":
    migrate._require_consistent = kill
else:
    run = migrate.run_migrations
    migrate.run_migrations = lambda engine: kill(run(engine))
migrate.migrate(pathlib.Path(sys.argv[1]), at_ms=int(sys.argv[2]))
"""


def migrate_and_be_killed(path: Path, at_ms: int, when: str) -> None:
    """`before` or `after` all changes are committed."""
    process = subprocess.run([sys.executable, "-c", KILLED, str(path), str(at_ms), when], check=False)
    assert process.returncode == -signal.SIGKILL


def backups(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.iterdir() if "backup" in found.name)


def test_copies_of_who_was_killed_do_not_pile_up(old: Path) -> None:
    promised = migrate(old, at_ms=1).backup
    assert promised is not None
    shutil.copy(promised, old)  # somebody goes back to it
    for at_ms in (2, 3, 4):
        migrate_and_be_killed(old, at_ms, "before")
        assert revision_of(old) == "0005"
        assert backups(old) == ["a.db.0005-1.backup", f"a.db.0005-{at_ms}.backup.part"]
    assert migrate(old, at_ms=5).backup == old.with_name("a.db.0005-5.backup")
    assert backups(old) == ["a.db.0005-1.backup", "a.db.0005-5.backup"]
    assert revision_of(old.with_name("a.db.0005-5.backup")) == "0005"


def test_copy_of_who_was_killed_when_all_was_done_stays(old: Path) -> None:
    migrate_and_be_killed(old, 1, "after")
    assert migrate(old, at_ms=2) == (HEAD, HEAD, None)
    (left,) = backups(old)
    assert revision_of(old.with_name(left)) == "0005"


def test_copy_of_who_is_about_to_migrate_stays(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the file open for a moment, between the copy and the first change."""

    def another_first(engine: Engine) -> None:
        monkeypatch.setattr(module, "run_migrations", run_migrations)
        assert migrate(old, at_ms=2).backup == old.with_name("a.db.0005-2.backup")
        run_migrations(engine)

    monkeypatch.setattr(module, "run_migrations", another_first)
    assert migrate(old, at_ms=1).backup == old.with_name("a.db.0005-1.backup")
    assert backups(old) == ["a.db.0005-1.backup", "a.db.0005-2.backup"]
    assert {revision_of(old.with_name(name)) for name in backups(old)} == {"0005"}


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


def test_database_that_others_have_open_is_left_alone_until_they_have_stopped(empty: Where) -> None:
    make_old(empty)
    server = open_engine(empty)
    server.connect().close()  # it is idle, and keeps the connection for its next request
    with pytest.raises(Conflict, match=r"in use by Lockgate; connections: 1\.|is open in another process") as refused:
        migrate(empty, at_ms=5)
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("stop every server")
    assert revision_of(empty) == "0005"
    threading.Timer(0.2, server.dispose).start()
    assert migrate(empty, at_ms=6).to_revision == HEAD


def test_server_by_a_name_of_the_users_own_is_found_as_well(new_postgres_url: str) -> None:
    where = parse_address(f"{new_postgres_url}&application_name=records")
    make_old(where)
    server = open_engine(where)
    server.connect().close()
    with pytest.raises(Conflict, match="in use"):
        migrate(where, at_ms=5)
    server.dispose()


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE VIEW mine AS SELECT value FROM metrics", "old_metrics"),
        ("CREATE TABLE old_metrics (x INTEGER)", "already"),
    ],
)
def test_what_is_the_users_own_and_in_the_way_is_said(empty: Where, sql: str, reason: str) -> None:
    make_old(empty)
    change(empty, sql)
    with pytest.raises(Conflict, match=rf"(?s)cannot be upgraded: .*{reason}.*Nothing was changed") as refused:
        migrate(empty, at_ms=5)
    assert "views" in (refused.value.hint or "")
    assert revision_of(empty) == "0005"
    if isinstance(empty, Path):
        assert not list(empty.parent.glob("*backup*"))


def test_revision_of_another_program_beside_ours_is_said(empty: Where) -> None:
    make_old(empty)
    change(empty, "INSERT INTO alembic_version VALUES ('0003')")
    with pytest.raises(Conflict, match="alembic_version names 0003 and 0005; one"):
        migrate(empty, at_ms=5)


# What a migration would need much time for fails where the setting that it is formatted with is not off.
HURRIED = """
CREATE FUNCTION hurry() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('%s') <> '0' THEN
        RAISE EXCEPTION 'too slow' USING ERRCODE = 'query_canceled';
    END IF;
END $$;
CREATE EVENT TRIGGER hurry ON ddl_command_start EXECUTE FUNCTION hurry();
"""


@pytest.mark.parametrize("setting", ["statement_timeout", "transaction_timeout"])
def test_limit_that_questions_of_the_database_have_does_not_end_an_upgrade(postgres: Any, setting: str) -> None:
    where = parse_address(postgres.create_database())
    make_old(where)
    postgres.execute(f"ALTER DATABASE {where.database} SET {setting} = '10min'")
    postgres.execute(HURRIED % setting, database=where.database)
    assert migrate(where, at_ms=5).to_revision == HEAD


def test_user_who_does_not_own_the_tables_is_told(postgres: Any) -> None:
    where = parse_address(postgres.create_database())
    make_old(where)
    postgres.execute("CREATE ROLE guest LOGIN")
    postgres.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO guest", database=where.database)
    with pytest.raises(PermissionDenied, match="must be owner of table") as refused:
        migrate(where.set(username="guest"), at_ms=5)
    assert refused.value.hint == "come as the user who owns its tables"


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
    assert list(tmp_path.glob("*backup*")) == []


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


def test_two_that_migrate_at_once_do_it_once(empty: Where) -> None:
    make_old(empty)
    start = threading.Barrier(2)
    done: list[Migration] = []

    def run(at_ms: int) -> None:
        start.wait()
        done.append(migrate(empty, at_ms=at_ms))

    threads = [threading.Thread(target=run, args=(at_ms,)) for at_ms in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {item.to_revision for item in done} == {HEAD}
    assert len(done) == 2
    open_database(empty).close()


def test_newer_database_of_postgresql_is_not_touched(postgres: Any) -> None:
    url = postgres.create_database()
    open_database(parse_address(url)).close()
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=parse_address(url).database)
    with pytest.raises(Conflict, match="9999"):
        migrate(parse_address(url), at_ms=5)
