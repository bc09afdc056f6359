import math
import random
from collections.abc import Iterable
from typing import Any

import pytest

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Database
from lockgate.metadata.metrics import (
    Point,
    histories,
    history,
    history_page,
    latest_of,
    log_points,
    sample_history,
)
from lockgate.metadata.runs import create_run

RUN = "a" * 32


@pytest.fixture(autouse=True)
def run(database: Database) -> None:
    with database.write(at=1, by="ann") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})


def log(database: Database, *points: Point) -> None:
    with database.write(at=1, by="ann", decision=False) as tx:
        log_points(tx, RUN, points)


def latest(database: Database, run_id: str = RUN) -> list[Point]:
    with database.read() as connection:
        rows = latest_of(connection, [run_id])
    return [Point(key, math.nan if is_nan else value, at, step) for _, key, value, is_nan, at, step in rows]


def points(rows: Iterable[Any]) -> list[tuple[int, int, float]]:
    """(time, step, value)"""
    return [(at, step, math.nan if is_nan else value) for at, step, value, is_nan in rows]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Point("m", 1.0, 5, 1), Point("m", 2.0, 4, 2), 2.0),  # a later step wins over a later time
        (Point("m", 1.0, 5, 2), Point("m", 2.0, 9, 1), 1.0),
        (Point("m", 1.0, 5, 1), Point("m", 2.0, 6, 1), 2.0),  # then a later time
        (Point("m", 3.0, 5, 1), Point("m", 2.0, 5, 1), 3.0),  # then the larger value
    ],
)
def test_latest_value_is_the_same_in_one_batch_and_in_two(
    database: Database, first: Point, second: Point, expected: float
) -> None:
    log(database, first, second)
    assert latest(database)[0].value == expected
    log(database, first)
    log(database, second)
    assert latest(database)[0].value == expected


def test_nan_and_infinities_are_kept(database: Database) -> None:
    log(database, Point("n", math.nan, 1, 0), Point("p", math.inf, 1, 0), Point("q", -math.inf, 1, 0))
    n, p, q = latest(database)
    assert math.isnan(n.value)
    assert (p.value, q.value) == (math.inf, -math.inf)


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


def test_histories_of_several_runs_are_by_run_and_limited(database: Database) -> None:
    other = "b" * 32
    with database.write(at=1, by="ann") as tx:
        create_run(tx, other, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        log_points(tx, other, [Point("m", 7.0, 1, 0)])
    log(database, *HISTORY[:2])
    with database.read() as connection:
        found = histories(connection, [other, RUN, "c" * 32], "m", limit=10)
        assert [(row.run_id[0], row.value) for row in found] == [("a", 1.0), ("a", 3.0), ("b", 7.0)]
        assert len(histories(connection, [other, RUN], "m", limit=2)) == 2


@pytest.mark.parametrize("key", ["", "x" * 251, "a?", "../a", "/a", "a//b", ".", "a\\b", "a\0b"])
def test_name_that_cannot_be_kept_is_refused(database: Database, key: str) -> None:
    with pytest.raises(InvalidInput):
        log(database, Point(key, 1.0, 1, 0))


def test_time_before_1970_is_refused_with_the_name_of_the_metric(database: Database) -> None:
    with pytest.raises(InvalidInput, match="Invalid value -1 for parameter 'timestamp' supplied: metric 'b'"):
        log(database, Point("a", 1.0, 1, 0), Point("b", 1.0, -1, 0))
    assert latest(database) == []


def random_points(count: int) -> list[Point]:
    """With repetitions, earlier steps after later ones, NaN and infinities."""
    rng = random.Random(count)
    values = [0.5, -1.0, math.nan, math.inf, -math.inf, 1e308]
    return [
        Point(rng.choice("abc"), rng.choice(values), rng.randrange(count), rng.randrange(-2, count))
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 65, 5000])
def test_points_logged_at_once_land_where_single_ones_do(database: Database, count: int) -> None:
    received, other = random_points(count), "b" * 32
    with database.write(at=1, by="ann") as tx:
        create_run(tx, other, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
    log(database, *received)
    with database.write(at=1, by="ann", decision=False) as tx:
        for point in received:
            log_points(tx, other, [point])
    with database.read() as connection:
        for key in "abc":
            assert history(connection, RUN, key) == history(connection, other, key)
    assert str(latest(database)) == str(latest(database, other))  # as text, where one NaN is like another


def test_the_same_again_changes_nothing_and_an_earlier_step_does_not_become_the_latest(database: Database) -> None:
    log(database, Point("m", 1.0, 10, 1), Point("m", 2.0, 11, 2))
    before = latest(database)
    log(database, Point("m", 1.0, 10, 1), Point("m", 2.0, 11, 2))
    log(database, Point("m", 9.0, 12, 0))
    assert latest(database) == before
    with database.read() as connection:
        assert len(history(connection, RUN, "m")) == 3
