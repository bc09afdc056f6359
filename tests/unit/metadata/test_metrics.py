import math

import pytest

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Database
from lockgate.metadata.metrics import Point, history, latest_of, log_points
from lockgate.metadata.runs import create_run

RUN = "a" * 32


@pytest.fixture(autouse=True)
def run(database: Database) -> None:
    with database.write(at=1, by="ann") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})


def log(database: Database, *points: Point) -> None:
    with database.write(at=1, by="ann", decision=False) as tx:
        log_points(tx, RUN, points)


def latest(database: Database) -> list[Point]:
    with database.read() as connection:
        return latest_of(connection, [RUN]).get(RUN, [])


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


def test_history_is_in_order_of_steps_and_pages(database: Database) -> None:
    log(database, *(Point("m", float(i), 100 - i, i) for i in (3, 1, 2, 0)))
    with database.read() as connection:
        assert [point.step for point in history(connection, RUN, "m", limit=None)] == [0, 1, 2, 3]
        assert [point.step for point in history(connection, RUN, "m", limit=2, offset=1)] == [1, 2]
        assert history(connection, RUN, "other", limit=None) == []


@pytest.mark.parametrize("key", ["", "x" * 251])
def test_name_that_cannot_be_kept_is_refused(database: Database, key: str) -> None:
    with pytest.raises(InvalidInput):
        log(database, Point(key, 1.0, 1, 0))
