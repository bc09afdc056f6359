"""Params are said once, whoever says them and however many runs there are."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, insert

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Database, Tx
from lockgate.metadata.runs import create_run, log_params, params_of
from lockgate.metadata.tables import params

RUN = "a" * 32


def make_run(tx: Tx, run_id: str) -> None:
    create_run(tx, run_id, experiment_id=0, run_name="r", user_id="ann", start_time=1, tags={})


@pytest.fixture
def run(database: Database) -> str:
    with database.write(at=1, by="ann") as tx:
        make_run(tx, RUN)
    return RUN


def log(database: Database, values: dict[str, str]) -> None:
    with database.write(at=1, by="ann", decision=False) as tx:
        log_params(tx, RUN, values)


def test_params_with_one_that_says_something_else_are_refused_together(database: Database, run: str) -> None:
    log(database, {"depth": "3"})
    log(database, {"depth": "3", "eta": "0.1"})
    with pytest.raises(InvalidInput, match=r"'depth' of run a+ is '3' and cannot become '4'"):
        log(database, {"booster": "tree", "depth": "4", "eta": "0.1"})
    with database.read() as connection:
        assert params_of(connection, [run])[run] == [("depth", "3"), ("eta", "0.1")]


def test_of_writers_who_say_different_things_at_once_one_is_believed(database: Database, run: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        said = [pool.submit(log, database, {f"p{k}": value for k in range(20)}) for value in "1212"]
    assert Counter(type(each.exception()) for each in said) == {InvalidInput: 2, type(None): 2}
    with database.read() as connection:
        assert len({value for _, value in params_of(connection, [run])[run]}) == 1


def test_of_runs_that_came_later_postgresql_reads_none(
    uncounted_database: Database, rows_read: Callable[[Connection], int]
) -> None:
    """It read all of them and of their params, by plans that it had made and kept while there was one run."""
    with uncounted_database.write(at=1, by="ann") as tx:
        make_run(tx, RUN)
        tx.connection.exec_driver_sql("ANALYZE")
    for number in range(10):
        log(uncounted_database, {f"x{number}": "1", f"y{number}": "2"})
    others = [f"{number:032}" for number in range(500)]
    with uncounted_database.write(at=1, by="ann") as tx:
        for other in others:
            make_run(tx, other)
        tx.connection.execute(
            insert(params), [{"run_id": other, "key": key, "value": "1"} for other in others for key in ("a", "b")]
        )
    with uncounted_database.write(at=1, by="ann", decision=False) as tx:
        before = rows_read(tx.connection)
        log_params(tx, others[-1], {"a": "1", "c": "2"})
        assert rows_read(tx.connection) - before < 10
