import itertools
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from lockgate.errors import Conflict, DataDamaged, InvalidInput, NotFound, StorageFull, Unavailable
from lockgate.metadata import sqlite_engine, sqlite_file
from lockgate.metadata.audit import append_audit, list_audit
from lockgate.metadata.database import Database, Tx, Where, open_engine, repeat_when_raced, storage_errors
from lockgate.metadata.events import append_event, list_events
from lockgate.metadata.inputs import DatasetUse, datasets_of, log_datasets, log_run_models
from lockgate.metadata.limits import DESCRIPTION_LENGTH
from lockgate.metadata.logged_models import (
    create_logged_model,
    log_logged_model_params,
    logged_params_of,
    set_logged_model_tags,
)
from lockgate.metadata.metrics import history, latest_of
from lockgate.metadata.models import create_model, describe_model, ensure_model, list_models
from lockgate.metadata.modes import Raced, TooSlow, WouldWait
from lockgate.metadata.moment import Moment
from lockgate.metadata.points import ModelPoint, Point, log_model_points, log_points
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.runs import create_run, hold_run, log_params, params_of, set_run_tags, tags_of
from lockgate.metadata.schema import open_database
from lockgate.metadata.tables import events, metadata, metrics, params, registered_models
from lockgate.metadata.versions import create_version

THREADS = 4
RUN = "r" * 32


def together(*works: object) -> list[Exception]:
    """Run each in a thread of its own, all begun at once; what they raised."""
    start = threading.Barrier(len(works))
    failures: list[Exception] = []

    def run(work: object) -> None:
        start.wait()
        try:
            work()  # type: ignore[operator]  # a function without arguments
        except Exception as error:  # noqa: BLE001  # shown by the caller's assertion
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


# -- one behaviour ----------------------------------------------------------------------------------------------------


def test_connections_that_nobody_uses_are_let_go_and_opened_again(database: Database) -> None:
    with database.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
    with database.write(at=1, by="a", decision=False):
        pass
    assert not database.is_let_go
    with database.read():
        database.let_go()
        assert not database.is_let_go
    database.let_go()
    assert database.is_let_go
    with database.read() as connection:
        assert [model.name for model in list_models(connection)] == ["m"]
    with database.write(at=1, by="a", decision=False):
        assert not database.is_let_go


def test_write_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
        raise RuntimeError
    with database.read() as connection:
        assert list_models(connection) == []


def test_measurement_that_fails_half_way_leaves_nothing_and_the_next_one_is_whole(database: Database) -> None:
    with database.write(at=1, by="a") as tx:
        create_run(tx, "r" * 32, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={})
    for name in ("a", "b"):  # through SQLAlchemy and past it
        with pytest.raises(ZeroDivisionError), database.write(at=1, by="a", decision=False) as tx:
            log_params(tx, "r" * 32, {name: "1"})
            log_points(tx, "r" * 32, [Point(name, 1.0, 1, 0)])
            raise ZeroDivisionError
    with pytest.raises((IntegrityError, Raced)), database.write(at=1, by="a", decision=False) as tx:
        log_points(tx, "r" * 32, [Point("c", 1.0, 1, 0)])
        tx.connection.execute(insert(params), {"run_id": "none", "key": "k", "value": "v"})
    with database.write(at=1, by="a", decision=False) as tx:
        log_points(tx, "r" * 32, [Point("d", 1.0, 1, 0)])
    with database.read() as connection:
        assert [row[1] for row in latest_of(connection, ["r" * 32])] == ["d"]
        assert params_of(connection, ["r" * 32]) == {}


def test_measurements_are_seen_by_whoever_reads_next_and_by_decisions(database: Database) -> None:
    with database.write(at=1, by="a") as tx:
        create_run(tx, "r" * 32, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={})
    for step in range(3):
        with database.write(at=1, by="a", decision=False) as tx:
            log_points(tx, "r" * 32, [Point("m", 1.0, step, step)])
        with database.read() as connection:
            assert len(history(connection, "r" * 32, "m")) == step + 1
        with database.write(at=1, by="a") as tx:
            assert len(history(tx.connection, "r" * 32, "m")) == step + 1


def test_reader_keeps_its_snapshot_while_others_write(database: Database) -> None:
    with database.read() as connection:
        assert list_models(connection) == []
        with database.write(at=1, by="a") as tx:
            ensure_model(tx, "m")
        assert list_models(connection) == []
    with database.read() as connection:
        assert len(list_models(connection)) == 1


# Each takes the database minutes.
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n LIMIT 1",
    "postgresql": "SELECT max(i) FROM generate_series(1, 10000000000) i",
}


def test_read_that_takes_too_long_is_given_up_and_the_next_goes_on(where: Where) -> None:
    database = open_database(where, read_limit_s=0.2)
    with pytest.raises(TooSlow) as caught, database.read() as connection:
        connection.exec_driver_sql(ENDLESS[connection.dialect.name])
    assert not caught.value.retry_helps
    with database.read() as connection:
        assert list_models(connection) == []
    database.close()


@pytest.mark.parametrize("decision", [True, False])
def test_write_takes_as_long_as_it_needs_after_a_read_on_its_connection(where: Where, decision: bool) -> None:
    database = open_database(where, read_limit_s=0.05)
    with database.read() as connection:
        assert list_models(connection) == []
    long = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 999999) SELECT count(*) FROM n",
        "postgresql": "SELECT count(pg_sleep(0.5))",
    }
    with database.write(at=1, by="a", decision=decision) as tx:
        assert tx.connection.exec_driver_sql(long[tx.connection.dialect.name]).scalar()
    database.close()


def test_decisions_take_turns_so_no_number_is_given_twice(where: Where) -> None:
    databases = [open_database(where) for _ in range(THREADS)]  # each with connections of its own, like a process
    with databases[0].write(at=1, by="a") as tx:
        create_model(tx, "m")

    def work(database: Database) -> None:
        for _ in range(15):
            with database.write(at=1, by="a") as tx:
                create_version(tx, "m", source="s")

    assert together(*[lambda database=database: work(database) for database in databases]) == []
    with databases[0].read() as connection:
        count = connection.scalar(select(func.count()).select_from(metadata.tables["model_versions"]))
        assert count == connection.scalar(select(registered_models.c.last_version)) == 15 * THREADS
    for database in databases:
        database.close()


def test_events_are_numbered_in_the_order_they_can_be_read_in(where: Where) -> None:
    """Whoever asks for what came after the last one he has seen misses none, however many write meanwhile."""
    writers = [open_database(where) for _ in range(THREADS)]
    reader = open_database(where)
    seen: list[int] = []
    ended = threading.Event()

    def follow() -> None:
        is_last = False
        while not is_last:
            is_last = ended.is_set()  # asked first: one more look after the end
            with reader.read() as connection:
                seen.extend(event.sequence for event in list_events(connection, after=max(seen, default=0), limit=1000))

    def work(database: Database) -> None:
        for _ in range(25):
            with database.write(at=1, by="a") as tx:
                append_event(tx, "model.created", "m")

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        assert together(*[lambda database=database: work(database) for database in writers]) == []
    finally:
        ended.set()
        follower.join()
    with reader.read() as connection:
        assert seen == list(connection.scalars(select(events.c.sequence).order_by(events.c.sequence)))
    assert len(seen) == 25 * THREADS
    for database in (*writers, reader):
        database.close()


def test_measurement_may_not_append_events(database: Database) -> None:
    with pytest.raises(AssertionError), database.write(at=1, by="a", decision=False) as tx:
        append_event(tx, "model.created", "m")


@pytest.mark.parametrize("kind", ["run", "logged model"])
def test_param_that_two_say_at_once_has_one_value(where: Where, kind: str) -> None:
    databases = [open_database(where) for _ in range(THREADS)]
    with databases[0].write(at=1, by="a") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={})
        of_nobody = {"model_type": "", "source_run_id": "", "params": {}, "tags": {}}
        create_logged_model(tx, "m-1", experiment_id=0, name="m", **of_nobody)
    accepted: list[tuple[str, str]] = []
    refused: list[str] = []

    def work(number: int) -> None:
        def say(i: int) -> None:
            with databases[number].write(at=1, by="a", decision=False) as tx:
                values = {f"p{i}": str(number), "same": "x"}
                if kind == "run":
                    log_params(tx, RUN, values)
                else:
                    log_logged_model_params(tx, "m-1", values)

        for i in range(20):
            try:
                repeat_when_raced(lambda i=i: say(i))
                accepted.append((f"p{i}", str(number)))
            except InvalidInput:
                refused.append(f"p{i}")

    assert together(*[lambda number=number: work(number) for number in range(THREADS)]) == []
    assert sorted(refused) == sorted(f"p{i}" for i in range(20) for _ in range(THREADS - 1))
    with databases[0].read() as connection:
        found = params_of(connection, [RUN])[RUN] if kind == "run" else logged_params_of(connection, ["m-1"])["m-1"]
    assert sorted(found) == sorted([*accepted, ("same", "x")])
    for database in databases:
        database.close()


def test_whoever_holds_a_run_may_read_it_and_write_what_follows(where: Where) -> None:
    databases = [open_database(where) for _ in range(THREADS)]
    run_id = "r" * 32
    with databases[0].write(at=1, by="a") as tx:
        create_run(tx, run_id, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={"count": "0"})

    def work(database: Database) -> None:
        for _ in range(20):
            with database.write(at=1, by="a", decision=False) as tx:
                hold_run(tx, run_id)
                count = int(dict(tags_of(tx.connection, [run_id])[run_id])["count"])
                set_run_tags(tx, run_id, {"count": str(count + 1)})

    assert together(*[lambda database=database: work(database) for database in databases]) == []
    with databases[0].read() as connection:
        assert dict(tags_of(connection, [run_id])[run_id])["count"] == str(20 * THREADS)
    for database in databases:
        database.close()


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_number_that_no_column_holds_is_refused(database: Database, number: int) -> None:
    with pytest.raises(InvalidInput, match="too large"), database.write(at=number, by="a") as tx:
        create_model(tx, "m")


def test_half_of_a_surrogate_pair_is_refused(database: Database) -> None:
    with pytest.raises(InvalidInput, match="Unicode"), database.write(at=1, by="a") as tx:
        create_model(tx, "m", description="\ud800")


def test_text_has_no_length_that_only_one_database_knows(database: Database) -> None:
    with database.write(at=1, by="b" * 5000) as tx:
        create_model(tx, "m")
        describe_model(tx, "m", "d" * DESCRIPTION_LENGTH)


def test_names_are_in_the_order_of_their_characters(database: Database) -> None:
    names = ["a", "B", "_", "-", "Z", "z", "é", "ß", "10", "9", "~", "ｆ", "😀", "a b", "ab", "A"]
    with database.write(at=1, by="a") as tx:
        for name in names:
            create_model(tx, name)
    with database.read() as connection:
        assert [row["name"] for row in list_models(connection)] == sorted(names)


def test_reading_transaction_cannot_write_on_postgresql(postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))
    with pytest.raises(Unavailable), database.read() as connection:
        create_model(Tx(connection, 1, "a", True), "m")
    database.close()


# -- races ------------------------------------------------------------------------------------------------------------


def test_race_is_run_again_until_it_is_won() -> None:
    tries: list[int] = []

    def work() -> str:
        tries.append(1)
        if len(tries) < 4:
            raise Raced("again")
        return "done"

    assert repeat_when_raced(work) == "done"
    assert len(tries) == 4


def test_race_that_is_never_won_ends() -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        raise Raced("again")

    with pytest.raises(Raced):
        repeat_when_raced(work)
    assert 2 < len(tries) < 20


def test_other_errors_are_not_run_again() -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        raise NotFound("no")

    with pytest.raises(NotFound):
        repeat_when_raced(work)
    assert len(tries) == 1


def test_mistake_of_ours_is_not_called_a_race_for_ever(postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))

    def work() -> None:
        with database.write(at=1, by="a") as tx:
            row = {
                "name": "m",
                "description": "",
                "created_at": 1,
                "updated_at": 1,
                "created_by": "",
                "last_version": 0,
            }
            tx.connection.execute(insert(registered_models), [row, row])

    with pytest.raises(Exception, match="pk_registered_models"):
        repeat_when_raced(work)
    database.close()


def test_many_deadlocks_are_no_mistake_of_ours() -> None:
    causes = [OperationalError("s", None, Exception()), *[IntegrityError("s", None, Exception())] * 20]

    def work() -> None:
        raise Raced("again") from causes.pop(0)

    with pytest.raises(Raced):
        repeat_when_raced(work)


MODEL = "m-" + "0" * 32
USES = [DatasetUse(name, digest, "s", "{}", None, None, {}) for name in "cab" for digest in "21"]
POINTS = [ModelPoint(MODEL, Point(key, 1.0, at, 0), "", "") for key in "cab" for at in (2, 1)]


@pytest.mark.parametrize(
    ("table", "write"),
    [
        ("params", lambda tx: log_params(tx, RUN, dict.fromkeys("cab", "v"))),
        ("run_tags", lambda tx: set_run_tags(tx, RUN, dict.fromkeys("cab", "v"))),
        ("logged_model_params", lambda tx: log_logged_model_params(tx, MODEL, dict.fromkeys("cab", "v"))),
        ("logged_model_tags", lambda tx: set_logged_model_tags(tx, MODEL, dict.fromkeys("cab", "v"))),
        ("logged_model_metrics", lambda tx: log_model_points(tx, RUN, POINTS)),
        ("datasets", lambda tx: log_datasets(tx, RUN, USES)),
        ("run_datasets", lambda tx: log_datasets(tx, RUN, USES)),
        ("run_models", lambda tx: log_run_models(tx, RUN, [(model, 0) for model in "cab"], "output")),
    ],
)
def test_rows_are_written_in_one_order_so_that_nobody_waits_for_each_other(
    database: Database, table: str, write: Callable[[Tx], object]
) -> None:
    with database.write(at=1, by="a") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        create_logged_model(tx, MODEL, experiment_id=0, name="m", model_type="", source_run_id=RUN, params={}, tags={})
    written: list[list[Any]] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda c, cursor, statement, given, *rest: (
            written.extend(given if isinstance(given, list) else [given])
            if statement.startswith(f"INSERT INTO {table} ")
            else None
        ),
    )
    with database.write(at=1, by="a", decision=False) as tx:
        write(tx)
    rows = [list(row.values()) if isinstance(row, dict) else list(row) for row in written]
    assert len(rows) >= 3
    assert rows == sorted(rows)


def test_datasets_are_told_in_the_order_in_which_they_were_logged(database: Database) -> None:
    with database.write(at=1, by="a") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        log_datasets(tx, RUN, USES[:4])
        log_datasets(tx, RUN, [*USES[2:], USES[0]])
        log_datasets(tx, RUN, [USES[0]._replace(name="0")])
    with database.read() as connection:
        assert [(use.name, use.digest) for use in datasets_of(connection, [RUN])[RUN]] == [
            *((use.name, use.digest) for use in USES),
            ("0", "2"),
        ]


def test_deadlock_is_a_race(postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))
    with database.write(at=1, by="a") as tx:
        create_model(tx, "a")
        create_model(tx, "b")
    both_hold_one = threading.Barrier(2)

    def work(first: str, second: str) -> None:
        waits = True

        def change() -> None:
            nonlocal waits
            with database.write(at=1, by="x", decision=False) as tx:
                describe_model(tx, first, first)
                if waits:
                    waits = False
                    both_hold_one.wait()
                describe_model(tx, second, first)

        repeat_when_raced(change)

    assert together(lambda: work("a", "b"), lambda: work("b", "a")) == []
    with database.read() as connection:
        assert len({row["description"] for row in list_models(connection)}) == 1
    database.close()


@pytest.mark.parametrize("decision", [True, False])
def test_who_has_the_turn_later_has_the_later_time(database: Database, *, decision: bool) -> None:
    if not decision and database.engine.dialect.name != "sqlite":
        pytest.skip("measurements on PostgreSQL take no turns")
    clock = itertools.count(1)

    def work() -> None:
        for _ in range(20):
            with database.write(at=lambda: next(clock), by="a", decision=decision) as tx:
                append_audit(tx, "op", address="", subject="", outcome="OK", details={}, keep_days=0)

    assert together(*[work] * THREADS) == []
    with database.read() as connection:
        times = [line.at for line in list_audit(connection, limit=1000)]
    assert len(times) == 20 * THREADS
    assert sorted(times, reverse=True) == times


# -- SQLite -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Database:
    return open_database(tmp_path / "lockgate.db")


def pragma(database: Database, name: str) -> object:
    with database.read() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_connections_are_set_up_for_crashes_and_references(sqlite_database: Database) -> None:
    assert pragma(sqlite_database, "journal_mode") == "wal"
    assert pragma(sqlite_database, "foreign_keys") == 1
    sqlite_database.close()


def test_decision_is_synchronised_and_measurement_is_not(sqlite_database: Database) -> None:
    with sqlite_database.write(at=1, by="a") as tx:
        assert tx.connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
    with sqlite_database.write(at=1, by="a", decision=False) as tx:
        assert tx.connection.execute(text("PRAGMA synchronous")).scalar() == 1  # NORMAL
    with sqlite_database.write(at=1, by="a") as tx:
        assert tx.connection.execute(text("PRAGMA synchronous")).scalar() == 2
    sqlite_database.close()


def test_brief_measurement_is_written_like_any_other(sqlite_database: Database) -> None:
    begin_cycle(sqlite_database)
    with sqlite_database.write(at=1, by="a", decision=False, moment=Moment()) as tx:
        log_points(tx, RUN, [Point("m", 1.0, 1, 0)])
    with pytest.raises(ZeroDivisionError), sqlite_database.write(at=1, by="a", decision=False, moment=Moment()) as tx:
        log_points(tx, RUN, [Point("lost", 1.0, 1, 0)])
        raise ZeroDivisionError
    with sqlite_database.read() as connection:
        assert [row[1] for row in latest_of(connection, [RUN])] == ["m"]


def test_brief_measurement_waits_neither_for_another_thread_nor_for_another_process(sqlite_database: Database) -> None:
    begin_cycle(sqlite_database)
    other = sqlite3.connect(str(sqlite_database.engine.url.database), isolation_level=None)

    def measure() -> None:
        with sqlite_database.write(at=1, by="a", decision=False, moment=Moment()) as tx:
            log_points(tx, RUN, [Point("m", 1.0, 1, 0)])

    began = time.monotonic()
    with sqlite_database.write(at=1, by="b"), pytest.raises(WouldWait):
        measure()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(WouldWait):
        measure()
    assert time.monotonic() - began < sqlite_engine.BUSY_TIMEOUT_S / 3
    other.execute("ROLLBACK")
    other.close()
    measure()


def test_decision_is_never_brief_and_several_statements_are_not_on_postgresql(database: Database) -> None:
    with pytest.raises(WouldWait), database.write(at=1, by="a", moment=Moment()):
        raise AssertionError
    if database.engine.dialect.name != "sqlite":
        with pytest.raises(WouldWait), database.write(at=1, by="a", decision=False, moment=Moment()):
            raise AssertionError


def test_sqlite_that_is_too_old_is_refused_with_what_to_do() -> None:
    sqlite_engine.require_version((3, 35, 0))
    with pytest.raises(InvalidInput, match=r"has SQLite 3\.34\.1, and 3\.35 or later is needed") as caught:
        sqlite_engine.require_version((3, 34, 1))
    assert "PostgreSQL" in (caught.value.hint or "")


def test_log_does_not_grow_with_brief_measurements(sqlite_database: Database) -> None:
    begin_cycle(sqlite_database)
    refused = 0
    for step in range(3000):
        for moment in (Moment(), None):
            try:
                with sqlite_database.write(at=1, by="a", decision=False, moment=moment) as tx:
                    log_points(tx, RUN, [Point(f"m{step % 7}", 1.0, step, step)])
                break
            except WouldWait:
                refused += 1
    assert 0 < refused < 60
    log = Path(f"{sqlite_database.engine.url.database}-wal")
    assert log.stat().st_size < 3 * 1000 * 4096
    with sqlite_database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(metrics)) == 3000


def begin_cycle(database: Database) -> None:
    """Make a run to log to, and what may wait, so that brief measurements follow."""
    with database.write(at=1, by="a") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={})
    for _ in range(2):
        with database.write(at=1, by="a", decision=False):
            pass


def test_database_locked_by_another_program_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engine, "BUSY_TIMEOUT_S", 0.05)
    database = open_database(tmp_path / "lockgate.db")
    other = sqlite3.connect(tmp_path / "lockgate.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process") as refused, database.write(at=1, by="a"):
        pass
    assert refused.value.retry_helps
    other.execute("ROLLBACK")
    other.close()
    with database.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
    database.close()


def test_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "lockgate.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(DataDamaged, match="damaged"):
        open_database(tmp_path / "lockgate.db")


def test_folder_in_place_of_the_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "lockgate.db").mkdir()
    engine = open_engine(tmp_path / "lockgate.db")
    with pytest.raises(Unavailable), storage_errors(), engine.connect():
        pass
    engine.dispose()
    with pytest.raises(Unavailable, match=f"{tmp_path}/lockgate.db cannot be used: unable to open") as refused:
        open_database(tmp_path / "lockgate.db")
    assert "its folder" in (refused.value.hint or "")


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=f"{tmp_path}/file/state cannot be made: Not a directory"):
        open_database(tmp_path / "file" / "state" / "lockgate.db")


@pytest.mark.parametrize("name", ["a?b#c%41.db", "\udcff é.db"])
def test_any_name_of_a_file_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    open_database(tmp_path / name).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_file_that_may_grow_no_more_is_told_with_what_to_look_at(sqlite_database: Database, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "lockgate.db").stat().st_size, hard))
    try:
        with pytest.raises(Unavailable, match="disk I/O error") as refused:
            for number in range(1000):
                with sqlite_database.write(at=1, by="a") as tx:
                    create_model(tx, f"m{number}", description="d" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "ulimit -f" in (refused.value.hint or "")
    sqlite_database.close()


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for found in path.parent.glob("lockgate.db*"):
        found.unlink()


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def replace_by_backup(path: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(path.with_name("backup"))) as target:
        source.backup(target)
    path.with_name("backup").replace(path)


@pytest.mark.parametrize("change", [delete, delete_all, move_folder, replace_by_backup])
def test_nothing_is_acknowledged_that_is_not_in_the_file_at_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(sqlite_file, "BELIEVED_S", 0)
    path = tmp_path / "state" / "lockgate.db"
    database = open_database(path)
    begin_cycle(database)
    change(path)
    left = path.read_bytes() if path.exists() else None
    refused = pytest.raises(Unavailable, match=r"^lockgate.db (cannot be found|was replaced)")
    for moment in (Moment(), None):
        with refused, database.write(at=1, by="a", decision=False, moment=moment) as tx:
            log_points(tx, RUN, [Point("m", 1.0, 1, 0)])
    for _ in range(2):
        with refused, database.write(at=1, by="a") as tx:
            ensure_model(tx, "m")
        with refused, database.read():
            pass
        database.let_go()  # so that the next one would open what is there now
    assert (path.read_bytes() if path.exists() else None) == left
    database.close()


def test_emptied_file_is_told_at_once(sqlite_database: Database, tmp_path: Path) -> None:
    begin_cycle(sqlite_database)
    (tmp_path / "lockgate.db").write_bytes(b"")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="was emptied"), sqlite_database.write(at=1, by="a") as tx:
        log_points(tx, RUN, [Point("m", 1.0, 1, 0)])
    with pytest.raises(Unavailable, match="was emptied"):
        sqlite_database.engine.dispose()  # of those that are kept one is open
        with sqlite_database.read():
            pass
    assert time.monotonic() - began < sqlite_engine.BUSY_TIMEOUT_S / 3
    sqlite_database.close()


def test_metrics_are_refused_a_moment_after_the_file_is_deleted(sqlite_database: Database, tmp_path: Path) -> None:
    begin_cycle(sqlite_database)
    (tmp_path / "lockgate.db").unlink()
    began = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be found"):
        while time.monotonic() - began < 5:
            with sqlite_database.write(at=1, by="a", decision=False) as tx:
                log_points(tx, RUN, [Point("m", 1.0, 1, 0)])
    sqlite_database.close()


def test_file_that_is_deleted_during_a_decision_is_noticed(sqlite_database: Database, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be found"), sqlite_database.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
        (tmp_path / "lockgate.db").unlink()
    sqlite_database.close()


def test_file_that_is_put_back_is_used_again_and_the_other_one_is_not(
    sqlite_database: Database, tmp_path: Path
) -> None:
    path, away, other = tmp_path / "lockgate.db", tmp_path / "away", tmp_path / "other.db"
    open_database(other).close()
    path.rename(away)
    other.rename(path)
    for _ in range(3):
        with pytest.raises(Unavailable, match="was replaced"), sqlite_database.write(at=1, by="a") as tx:
            ensure_model(tx, "lost")
        sqlite_database.let_go()
    path.rename(other)
    away.rename(path)
    with sqlite_database.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
    sqlite_database.close()
    for file, names in ((path, ["m"]), (other, [])):
        with open_database(file).read() as connection:
            assert [row["name"] for row in list_models(connection)] == names


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "",
        "lockgate.db",
        "sqlite:///a.db",
        "mysql://u:secret@h/d",
        "postgresql://u:secret@h",
        "postgresql://u:secret@h:x/d",
    ],
)
def test_address_of_anything_else_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(InvalidInput, match="expected postgresql://") as refused:
        parse_address(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_common_ways_to_write_the_address_are_taken(scheme: str) -> None:
    url = parse_address(f"{scheme}://ann:p%40ss@host:5433/records?sslmode=require")
    assert (url.drivername, url.password, url.port) == ("postgresql+psycopg", "p@ss", 5433)


def test_whoever_opens_a_server_that_is_not_there_learns_why_but_not_the_password() -> None:
    with pytest.raises(
        Unavailable, match=r"postgresql://ann:\*\*\*@127.0.0.1:1/records cannot be used: .*refused"
    ) as e:
        open_database(parse_address("postgresql://ann:secret@127.0.0.1:1/records"))
    assert "secret" not in str(e.value)
    assert e.value.hint is not None


def test_database_that_was_not_created_is_named(postgres_url: str) -> None:
    where = parse_address(postgres_url).set(database="nowhere")
    with pytest.raises(Unavailable, match='database "nowhere" does not exist'):
        open_database(where)


def test_full_disk_is_told(postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))
    fail = text("DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$")
    with pytest.raises(StorageFull), database.write(at=1, by="a") as tx:
        tx.connection.execute(fail)
    with database.read() as connection:
        assert list_models(connection) == []
    database.close()


def test_nul_is_refused_in_plain_words(postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))
    with pytest.raises(InvalidInput, match="NUL"), database.write(at=1, by="a") as tx:
        create_model(tx, "m", description="a\0b")
    database.close()


def test_decision_waits_for_its_turn_but_not_for_ever(postgres_url: str) -> None:
    holder, database = (open_database(parse_address(postgres_url)) for _ in range(2))
    with holder.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
        with database.engine.connect() as connection:  # the only one in the pool: the next write has it again
            connection.connection.cursor().execute("SET lock_timeout = '50ms'")
        with pytest.raises(Unavailable, match="held by another writer"), database.write(at=1, by="b"):
            pass
        with database.write(at=1, by="b", decision=False) as other:  # measurements wait for nobody
            assert other.connection.scalar(text("SELECT 1")) == 1
        with database.read() as connection:
            assert list_models(connection) == []
    with database.write(at=1, by="b") as tx:
        assert len(list_models(tx.connection)) == 1
    holder.close()
    database.close()


def test_turn_of_a_process_that_hangs_ends(postgres_url: str) -> None:
    hanging, other = (open_database(parse_address(postgres_url)) for _ in range(2))
    with pytest.raises(Unavailable), hanging.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
        tx.connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '20ms'")
        with other.write(at=1, by="b") as waited:
            ensure_model(waited, "n")
        list_models(tx.connection)
    with hanging.read() as connection:
        assert [row["name"] for row in list_models(connection)] == ["n"]
    hanging.close()
    other.close()


def test_every_text_is_kept_by_its_bytes(postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))
    query = text(
        "SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name <> 'alembic_version' "
        "AND udt_name IN ('text', 'varchar', 'bpchar')"
    )
    with database.read() as connection:
        found = connection.execute(query).all()
    database.close()
    assert len(found) > 50
    assert [row for row in found if (row.data_type, row.collation_name) != ("text", "C")] == []


def test_single_measurement_survives_that_the_server_has_closed_its_connection(
    postgres_url: str, lose_connections: Callable[[Database], None]
) -> None:
    database = open_database(parse_address(postgres_url))
    with database.write(at=1, by="a") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={})
    for step in range(3):
        measure(database, step)
        lose_connections(database)
    assert steps_of(database) == [0, 1, 2]
    database.close()


def measure(database: Database, step: int) -> None:
    with database.write(at=1, by="a", decision=False, is_single=True) as tx:
        log_points(tx, RUN, [Point("m", 1.0, step, step)])


def steps_of(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(select(metrics.c.step).order_by(metrics.c.step)))


def test_missing_driver_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InvalidInput) as refused:
        open_engine(parse_address("postgresql://h/d"))
    assert refused.value.hint == "pip install 'lockgate[postgres]'"


def test_conflict_of_our_own_passes_through(database: Database) -> None:
    with pytest.raises(Conflict), database.write(at=1, by="a"):
        raise Conflict("no")
