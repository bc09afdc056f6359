"""What only PostgreSQL does."""

import logging
import os
import select
import signal
import time
from typing import Any

import pytest
from sqlalchemy import Connection, event

from lockgate.errors import Unavailable
from lockgate.metadata.database import open_engine
from lockgate.metadata.driver import prefer_walks
from lockgate.metadata.migrate import run_migrations
from lockgate.metadata.models import ensure_model
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.postgres_engine import execute
from lockgate.metadata.schema import open_database


def test_connection_that_ends_as_a_transaction_begins_is_one_line_in_the_log(
    postgres: Any, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database(parse_address(postgres_url))

    def end(driver: Any, record: object, proxy: object) -> None:
        postgres.execute(f"SELECT pg_terminate_backend({driver.info.backend_pid}, 5000)")

    event.listen(database.engine, "checkout", end)  # after it was found alive
    caplog.set_level(logging.WARNING)
    with pytest.raises(Unavailable), database.read():
        pass
    assert [(record.name, record.exc_info) for record in caplog.records] == [("lockgate.metadata", None)]
    event.remove(database.engine, "checkout", end)
    with database.read():
        pass
    database.close()


def test_server_that_takes_a_question_and_says_nothing_is_given_up(
    make_postgres: Any, caplog: pytest.LogCaptureFixture
) -> None:
    own = make_postgres()
    own.start()
    database = open_database(parse_address(own.create_database()))

    def freeze(driver: Any, record: object, proxy: object) -> None:  # its network goes on taking bytes
        driver.answer_limit_s = 0.3
        os.kill(driver.info.backend_pid, signal.SIGSTOP)
        stopped.append(driver.info.backend_pid)

    stopped: list[int] = []
    event.listen(database.engine, "checkout", freeze)
    with pytest.raises(Unavailable), database.read():
        pass
    event.remove(database.engine, "checkout", freeze)
    assert [record.getMessage() for record in caplog.records] == [
        "the metadata database does not answer: no answer for 0.3 seconds"
    ]
    with database.read() as connection:  # by another one
        assert connection.connection.driver_connection.info.backend_pid not in stopped
    os.kill(*stopped, signal.SIGCONT)
    database.close()


def test_slow_question_is_ended_in_the_server_as_well(postgres: Any, postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))
    with pytest.raises(Unavailable), database.read() as connection:
        connection.connection.driver_connection.answer_limit_s = 0.3
        connection.exec_driver_sql("SELECT pg_sleep(3600)")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(3600)'"
    with database.read() as connection:
        while connection.exec_driver_sql(sleeping).scalar():  # until the test's own limit
            time.sleep(0.01)
    database.close()


@pytest.mark.parametrize("limit", ["transaction_timeout", "idle_in_transaction_session_timeout"])
def test_transaction_that_the_server_ends_is_an_outage(postgres_url: str, limit: str) -> None:
    database = open_database(parse_address(postgres_url))
    with pytest.raises(Unavailable, match="does not answer"), database.read() as connection:
        connection.exec_driver_sql(f"SET LOCAL {limit} = 1")
        while not select.select([connection.connection.driver_connection.fileno()], [], [], 10)[0]:
            pass  # until it has said so
        execute(connection, "SELECT 1")
    with database.read():
        pass
    database.close()


def test_writes_are_refused_with_the_reason_while_the_server_is_read_only(postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))
    with (
        pytest.raises(Unavailable, match="the metadata database takes no writes now: it is read-only") as refused,
        database.write(at=1, by="a") as tx,
    ):
        tx.connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        ensure_model(tx, "m")
    assert "failover" in (refused.value.hint or "")
    database.close()


def test_migration_waits_as_long_as_it_takes(postgres: Any) -> None:
    engine = open_engine(parse_address(postgres.create_database()))

    def limit(driver: Any, record: object) -> None:
        driver.answer_limit_s = 0.2

    def slow(connection: object, cursor: Any, statement: str, *rest: object) -> None:
        if statement.strip().startswith("CREATE TABLE runs"):
            cursor.execute("SELECT pg_sleep(0.5)")
            slowed.append(statement)

    slowed: list[str] = []
    event.listen(engine, "connect", limit)
    event.listen(engine, "before_cursor_execute", slow)
    run_migrations(engine)
    assert len(slowed) == 1
    engine.dispose()


def test_writes_read_no_table_whole_and_reads_may_also_where_they_preferred_walks(postgres_url: str) -> None:
    database = open_database(parse_address(postgres_url))

    def require_usual(connection: Connection, usual: str) -> None:
        for prefer, expected in ((None, usual), (True, "off"), (False, usual)):
            if prefer is not None:
                prefer_walks(connection, prefer=prefer)
            assert connection.exec_driver_sql("SHOW enable_seqscan").scalar_one() == expected

    with database.read() as connection:
        require_usual(connection, "on")
    for is_decision in (True, False):
        with database.write(at=1, by="a", decision=is_decision) as tx:
            require_usual(tx.connection, "off")
    database.close()
