import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from lockgate.metadata.database import Database
from lockgate.metadata.metrics import histories, history, history_page, sample_history
from lockgate.metadata.points import Point, log_points
from lockgate.metadata.runs import create_run

RUN = "a" * 32


@pytest.fixture(autouse=True)
def run(database: Database) -> None:
    with database.write(at=1, by="ann") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})


def log(database: Database, *points: Point) -> None:
    with database.write(at=1, by="ann", decision=False) as tx:
        log_points(tx, RUN, points)


def points(rows: Iterable[Any]) -> list[tuple[int, int, float]]:
    """(time, step, value)"""
    return [(at, step, math.nan if is_nan else value) for at, step, value, is_nan in rows]


HISTORY = (
    Point("m", 3.0, 5, 2),
    Point("m", 1.0, 5, 1),
    Point("m", 2.0, 5, 1),
    Point("m", 0.0, 4, 9),
    Point("m", math.nan, 4, 9),
)


def test_history_is_in_order_of_time_then_step_then_value(database: Database) -> None:
    log(database, *HISTORY, Point("other", 1.0, 1, 1))
    with database.read() as connection:
        found = points(history(connection, RUN, "m"))
        assert [(at, step) for at, step, _ in found] == [(4, 9), (4, 9), (5, 1), (5, 1), (5, 2)]
        assert [value for _, _, value in found[2:]] == [1.0, 2.0, 3.0]
        assert history(connection, RUN, "nothing") == []


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_pages_of_a_history_are_the_whole_of_it(database: Database, size: int) -> None:
    log(database, *HISTORY)
    found, token = [], ""
    while True:
        with database.read() as connection:
            page = history_page(connection, RUN, "m", max_results=size, page_token=token)
        found += [(at, step, is_nan, value) for at, step, value, is_nan in page.found]
        token = page.next_token
        if not token:
            break
    assert found == [(4, 9, 0, 0.0), (4, 9, 1, 0.0), (5, 1, 0, 1.0), (5, 1, 0, 2.0), (5, 2, 0, 3.0)]


@pytest.mark.parametrize(
    ("size", "steps", "expected"),
    [
        (1, None, [9]),
        (2, None, [0, 9]),
        (3, None, [0, 4, 9]),
        (4, None, [0, 3, 6, 9]),
        (10, None, list(range(10))),
        (99, None, list(range(10))),
        (3, (2, 6), [2, 4, 6]),
        (3, (20, 30), []),
    ],
)
def test_sample_is_spread_and_keeps_both_ends(
    database: Database, size: int, steps: tuple[int, int] | None, expected: list[int]
) -> None:
    log(database, *(Point("m", 0.5, 100 - step, step) for step in range(10)))
    with database.read() as connection:
        found = sample_history(connection, RUN, "m", size=size, steps=steps)
    assert [step for _, step, _, _ in found] == expected


def test_long_history_is_sampled_in_little_memory(tmp_path: Path) -> None:
    """SQLite's own, which sorts all of it."""
    code = """
import resource, sys
from pathlib import Path
from lockgate.metadata.metrics import sample_history
from lockgate.metadata.points import log_points
from lockgate.metadata.runs import create_run
from lockgate.metadata.schema import open_database
database, run_id = open_database(Path(sys.argv[1])), "a" * 32
with database.write(at=1, by="ann") as tx:
    create_run(tx, run_id, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
with database.write(at=1, by="ann", decision=False) as tx:
    for start in range(0, 400_000, 10_000):
        log_points(tx, run_id, [("m", step / 2, step, step) for step in range(start, start + 10_000)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with database.read() as connection:
    assert len(sample_history(connection, run_id, "m", size=100, steps=None)) == 100
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    said = subprocess.run([sys.executable, "-c", code, tmp_path / "db"], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 12_000  # KiB; in memory it took 22,000


def test_histories_of_several_runs_are_by_run_and_limited(database: Database) -> None:
    other = "b" * 32
    with database.write(at=1, by="ann") as tx:
        create_run(tx, other, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        log_points(tx, other, [Point("m", 7.0, 1, 0)])
    log(database, *HISTORY[:2])
    with database.read() as connection:
        found = histories(connection, [other, RUN, "c" * 32], "m", limit=10)
        assert [(run_id[0], value) for run_id, _, _, value, _ in found] == [("a", 1.0), ("a", 3.0), ("b", 7.0)]
        assert histories(connection, [other, RUN, other], "m", limit=2) == found[:2]
        assert histories(connection, [other, RUN], "m", limit=0) == []


@pytest.mark.parametrize(
    "read",
    [
        lambda connection: history(connection, RUN, "m"),
        lambda connection: history_page(connection, RUN, "m", max_results=5000, page_token="").found,
        lambda connection: histories(connection, [RUN, "b" * 32], "m", limit=5000),
    ],
)
def test_long_history_is_read_without_the_disk_of_postgresql(
    database: Database, read: Callable[[Connection], list[Any]]
) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite always goes along the index")
    rng = random.Random(0)
    for _ in range(5):
        log(database, *(Point(rng.choice(["m", "other"]), 0.5, rng.randrange(10**9), 0) for _ in range(4000)))
    with database.read() as connection:  # which believes these to be few, as long as it has no statistics
        connection.exec_driver_sql("SET LOCAL work_mem = '64kB'")
        connection.exec_driver_sql("SET LOCAL temp_file_limit = 0")
        assert len(read(connection)) >= 5000
