"""Params are said once, whoever says them and however many runs there are."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, insert

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Database
from lockgate.metadata.runs import create_run, log_params, params_of
from lockgate.metadata.tables import params

RUN = "a" * 32


@pytest.fixture
def run(database: Database) -> str:
    with database.write(at=1, by="ann") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="ann", start_time=1, tags={})
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


def test_params_of_other_runs_are_not_read(
    database: Database, run: str, rows_read: Callable[[Connection], int]
) -> None:
    """PostgreSQL read all, by the plan of when there were none."""
    count = 500
    for number in range(10):
        log(database, {f"x{number}": "1", f"y{number}": "2"})
    with database.write(at=1, by="ann") as tx:
        for number in range(count):
            create_run(tx, f"{number:032}", experiment_id=0, run_name="r", user_id="ann", start_time=1, tags={})
        rows = [{"run_id": f"{number:032}", "key": key, "value": "1"} for number in range(count) for key in ("a", "b")]
        tx.connection.execute(insert(params), rows)
    with database.write(at=1, by="ann", decision=False) as tx:
        before = rows_read(tx.connection)
        log_params(tx, run, {"a": "1", "b": "2"})
        assert rows_read(tx.connection) - before < 10
