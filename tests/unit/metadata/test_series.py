"""Values in columns land exactly where single points do."""

import math
import random

import pytest
from sqlalchemy import insert, select

from lockgate.errors import InvalidInput
from lockgate.metadata.metrics import Point, log_points
from lockgate.metadata.series import Series, log_series
from lockgate.metadata.tables import latest_metrics, metrics, runs

RUNS = ("a" * 32, "b" * 32)


@pytest.fixture
def tx(write):
    with write() as found:
        for run_id in RUNS:
            row = {"run_id": run_id, "experiment_id": 0, "run_name": "r", "user_id": "u", "status": "RUNNING"}
            found.connection.execute(
                insert(runs), {**row, "start_time": 1, "lifecycle_stage": "active", "artifact_uri": "x"}
            )
        yield found


def kept(tx, table, run_id: str) -> list[tuple[object, ...]]:
    t = table.c
    found = tx.connection.execute(select(t.key, t.timestamp, t.step, t.value, t.is_nan).where(t.run_id == run_id))
    return sorted(tuple(row) for row in found)


def random_points(count: int, seed: int) -> list[Point]:
    """With repetitions, earlier steps after later ones, NaN and infinities."""
    rng = random.Random(seed)
    values = [0.5, -1.0, math.nan, math.inf, -math.inf, 1e308, 0.0]
    return [
        Point(rng.choice("abc"), rng.choice(values), rng.randrange(count), rng.randrange(-2, count))
        for _ in range(count)
    ]


def columns(points: list[Point]) -> list[Series]:
    found = []
    for key in sorted({point.key for point in points}):
        own = [point for point in points if point.key == key]
        found.append(Series(key, [p.value for p in own], [p.at for p in own], [p.step for p in own]))
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 65, 5000])
def test_history_and_latest_values_are_those_of_single_points(tx, count: int) -> None:
    points = random_points(count, seed=count)
    log_points(tx, RUNS[0], points)
    log_series(tx, RUNS[1], columns(points))
    for table in (metrics, latest_metrics):
        assert kept(tx, table, RUNS[1]) == kept(tx, table, RUNS[0])


def test_the_same_again_changes_nothing_and_an_earlier_step_does_not_become_the_latest(tx) -> None:
    log_series(tx, RUNS[0], [Series("m", [1.0, 2.0], [10, 11], [1, 2])])
    before = kept(tx, metrics, RUNS[0]), kept(tx, latest_metrics, RUNS[0])
    log_series(tx, RUNS[0], [Series("m", [1.0, 2.0], [10, 11], [1, 2])])
    assert (kept(tx, metrics, RUNS[0]), kept(tx, latest_metrics, RUNS[0])) == before
    log_series(tx, RUNS[0], [Series("m", [9.0], [12], [0])])
    assert kept(tx, latest_metrics, RUNS[0]) == before[1]
    assert len(kept(tx, metrics, RUNS[0])) == 3


@pytest.mark.parametrize(
    "series",
    [Series("", [1.0], [1], [1]), Series("x" * 251, [1.0], [1], [1]), Series("m", [1.0, 2.0], [1, -1], [1, 2])],
)
def test_what_cannot_be_kept_is_refused(tx, series: Series) -> None:
    with pytest.raises(InvalidInput):
        log_series(tx, RUNS[0], [Series("fine", [1.0], [1], [1]), series])
