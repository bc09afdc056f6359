import math
import random
from collections.abc import Sequence

import pytest
from sqlalchemy import func, select

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.database import Database
from lockgate.metadata.metrics import history, latest_of
from lockgate.metadata.points import Point, log_points
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.runs import create_run, set_run_stage
from lockgate.metadata.schema import open_database
from lockgate.metadata.tables import latest_metrics, metrics

RUN, OTHER = "a" * 32, "b" * 32
TEXTS = ["plain", "with space", "back-slash", "two/parts", "ü中𠀀", "a.b", "1", "NULL", "-"]
NUMBERS = [0.0, 0.1, 5e-324, -1.7976931348623157e308, math.inf, -math.inf]


@pytest.fixture(autouse=True)
def run(database: Database) -> None:
    with database.write(at=1, by="ann") as tx:
        for run_id in (RUN, OTHER):
            create_run(tx, run_id, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})


def log(database: Database, *points: Point, run_id: str = RUN, is_single: bool = False) -> None:
    with database.write(at=1, by="ann", decision=False, is_single=is_single) as tx:
        log_points(tx, run_id, points)


def latest(database: Database, run_id: str = RUN) -> list[Point]:
    with database.read() as connection:
        rows = latest_of(connection, [run_id])
    return [Point(key, math.nan if is_nan else value, at, step) for _, key, value, is_nan, at, step in rows]


def logged(database: Database, key: str, run_id: str = RUN) -> Sequence[tuple[int, int, float, int]]:
    with database.read() as connection:
        return history(connection, run_id, key)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Point("m", 1.0, 5, 1), Point("m", 2.0, 4, 2), 2.0),  # a later step wins over a later time
        (Point("m", 1.0, 5, 2), Point("m", 2.0, 9, 1), 1.0),
        (Point("m", 1.0, 5, 1), Point("m", 2.0, 6, 1), 2.0),  # then a later time
        (Point("m", 3.0, 5, 1), Point("m", 2.0, 5, 1), 3.0),  # then the larger value
        (Point("m", math.nan, 5, 1), Point("m", 0.0, 5, 1), math.nan),  # a NaN is kept as a 0, and after it
    ],
)
def test_latest_value_is_the_same_in_one_batch_and_in_two(
    database: Database, first: Point, second: Point, expected: float
) -> None:
    log(database, first, second)
    for point in (first, second):
        log(database, point, run_id=OTHER)
    for run_id in (RUN, OTHER):
        assert latest(database, run_id)[0].value == pytest.approx(expected, nan_ok=True)


def test_nan_and_infinities_are_kept(database: Database) -> None:
    log(database, Point("n", math.nan, 1, 0), Point("p", math.inf, 1, 0), Point("q", -math.inf, 1, 0))
    n, p, q = latest(database)
    assert math.isnan(n.value)
    assert (p.value, q.value) == (math.inf, -math.inf)


@pytest.mark.parametrize("key", ["", "x" * 251, "a?", "../a", "/a", "a//b", ".", "a\\b", "a\0b", "\ud800"])
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
    received = random_points(count)
    log(database, *received)
    for point in received:
        log(database, point, run_id=OTHER)
    for key in "abc":
        assert logged(database, key) == logged(database, key, OTHER)
    assert str(latest(database)) == str(latest(database, OTHER))  # as text, where one NaN is like another


def test_the_same_again_changes_nothing_and_an_earlier_step_does_not_become_the_latest(database: Database) -> None:
    log(database, Point("m", 1.0, 10, 1), Point("m", 2.0, 11, 2))
    before = latest(database)
    log(database, Point("m", 1.0, 10, 1), Point("m", 2.0, 11, 2))
    log(database, Point("m", 9.0, 12, 0))
    assert latest(database) == before
    assert len(logged(database, "m")) == 3


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("count", [1, 2, 700])  # 700 are more than one statement of SQLite takes
def test_points_that_are_there_already_or_given_twice_are_left_out(
    database: Database, count: int, *, is_single: bool
) -> None:
    old = [Point(f"m{number % 600}", 1.0, number, number) for number in range(count)]
    new = Point("m0", 2.0, count, count)
    for received in (old, old, [new, *old], [new, new, *old]):
        log(database, *received, is_single=is_single)
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(metrics)) == count + 1
        assert connection.scalar(select(func.count()).select_from(latest_metrics)) == min(count, 600)
    assert next(point for point in latest(database) if point.key == "m0") == new


@pytest.mark.parametrize("is_single", [False, True])
def test_series_of_each_run_and_metric_are_kept_apart(database: Database, *, is_single: bool) -> None:
    keys = ["b", "a", "Z", "ü", "中", "𠀀", *(f"m{number}" for number in range(1100))]  # in no order
    for step in range(2):
        for run_id in (RUN, OTHER):
            here = [Point(key, float(len(run_id + key) + step), 1, step) for key in keys]
            log(database, *here, run_id=run_id, is_single=is_single)
        log(database, Point("alone", 5.0, 1, step), run_id=OTHER, is_single=is_single)
    for run_id in (RUN, OTHER):
        for key in keys:
            assert [(at, step) for at, step, _, _ in logged(database, key, run_id)] == [(1, 0), (1, 1)]
    assert logged(database, "alone") == []
    assert len(logged(database, "alone", OTHER)) == 2
    with database.read() as connection:
        numbers = connection.scalars(select(latest_metrics.c.series)).all()
    assert len(set(numbers)) == len(numbers) == 2 * len(keys) + 1


@pytest.mark.parametrize("count", [1, 513])
def test_numbers_are_kept_to_the_last_bit(database: Database, count: int) -> None:
    received = [Point(f"m{i:03}", NUMBERS[i % len(NUMBERS)], 2**63 - 1 - i, -(2**63) + i) for i in range(count)]
    log(database, *received)
    assert latest(database) == received
    assert logged(database, "m000") == [(2**63 - 1, -(2**63), 0.0, 0)]


def test_names_are_kept_as_they_are(database: Database) -> None:
    log(database, *(Point(text, 1.0, 1, 1) for text in TEXTS))
    assert {point.key for point in latest(database)} == set(TEXTS)


def test_names_are_kept_as_they_are_whatever_encoding_the_address_asks_for(postgres_url: str) -> None:
    database = open_database(parse_address(f"{postgres_url}&client_encoding=latin1"))
    run_id = "c" * 32
    with database.write(at=1, by="ann") as tx:
        create_run(tx, run_id, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
    for received in ([Point("größe 中", 1.0, 1, 1)], [Point("größe 中", 1.0, 1, 2), Point("ü", 1.0, 1, 1)]):
        log(database, *received, run_id=run_id, is_single=True)
    assert [point.key for point in latest(database, run_id)] == ["größe 中", "ü"]
    database.close()


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_written_to_a_run_that_is_deleted_or_not_there(
    database: Database, count: int, *, is_single: bool
) -> None:
    with database.write(at=2, by="ann") as tx:
        set_run_stage(tx, OTHER, deleted=True)
    received = [Point("m", 1.0, 1, step) for step in range(count)]
    with pytest.raises(InvalidInput, match="must be in the 'active' state"):
        log(database, *received, run_id=OTHER, is_single=is_single)
    with pytest.raises(NotFound):
        log(database, *received, run_id="c" * 32, is_single=is_single)
    with database.read() as connection:
        for table in (metrics, latest_metrics):
            assert connection.scalar(select(func.count()).select_from(table)) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_zero_byte_never_cuts_the_name_of_a_run(database: Database, count: int) -> None:
    with pytest.raises((InvalidInput, NotFound)):  # PostgreSQL's texts cannot have one
        log(database, *(Point("m", 1.0, 1, step) for step in range(count)), run_id=f"{RUN}\0b", is_single=True)
    assert latest(database) == []


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("point", [Point("m", 1.0, 1, 2**63), Point("m", 1.0, 2**63, 1)])
def test_what_a_column_cannot_hold_is_refused_and_the_next_goes_through(
    database: Database, count: int, point: Point
) -> None:
    with pytest.raises(InvalidInput, match="too large"):
        log(database, *[Point("other", 1.0, 1, 1), point][-count:], is_single=True)
    assert latest(database) == []
    log(database, Point("m", 1.0, 1, 1), is_single=True)
    assert len(logged(database, "m")) == 1


def test_single_write_goes_through_when_its_connection_has_forgotten_it(database: Database) -> None:
    for step in range(2):
        with database.write(at=1, by="a", decision=False, is_single=True) as tx:
            if not tx.is_sqlite:
                tx.connection.exec_driver_sql("DEALLOCATE ALL")
            log_points(tx, RUN, [Point("m", 1.0, 1, step)])
    assert len(logged(database, "m")) == 2
