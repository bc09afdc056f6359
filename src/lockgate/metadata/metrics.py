"""Metrics of runs: the whole history, and the latest value of each for reading and searching."""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, Executable, and_, or_, select

from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.runs import require_key
from lockgate.metadata.tables import latest_metrics, logged_model_metrics, metrics


class Point(NamedTuple):
    """One value of one metric. `at` is the caller's clock in milliseconds."""

    key: str
    value: float
    at: int
    step: int


class ModelPoint(NamedTuple):
    """A value that was measured for one logged model, perhaps on a named dataset."""

    model_id: str
    point: Point
    dataset_name: str
    dataset_digest: str


def log_points(tx: Tx, run_id: str, points: Sequence[Point]) -> None:
    """Append to the history and move the latest values; a point that is there already changes nothing."""
    if not points:
        return
    for key in {point.key for point in points}:
        require_key(key, "metric")
    tx.connection.execute(_append(tx.is_sqlite), [_row(run_id, point) for point in points])
    tx.connection.execute(_move_latest(tx.is_sqlite), [_row(run_id, point) for point in _latest(points)])


def log_model_points(tx: Tx, run_id: str, points: Iterable[ModelPoint]) -> None:
    """Keep the last value of each metric of a logged model by dataset."""
    rows = [
        {
            **_row(run_id, item.point),
            "model_id": item.model_id,
            "dataset_name": item.dataset_name,
            "dataset_digest": item.dataset_digest,
        }
        for item in points
    ]
    if not rows:
        return
    statement = upsert(tx.is_sqlite, logged_model_metrics)
    keys = ["model_id", "run_id", "key", "dataset_name", "dataset_digest"]
    values = {name: statement.excluded[name] for name in ("value", "is_nan", "timestamp", "step")}
    tx.connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), rows)


def latest_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[Point]]:
    """The latest value of each metric by run, sorted by name."""
    t = latest_metrics.c
    query = select(t.run_id, t.key, t.value, t.is_nan, t.timestamp, t.step).where(t.run_id.in_(run_ids))
    found: dict[str, list[Point]] = {}
    for run_id, key, value, is_nan, at, step in connection.execute(query.order_by(t.run_id, t.key)):
        found.setdefault(run_id, []).append(Point(key, math.nan if is_nan else value, at, step))
    return found


def history(connection: Connection, run_id: str, key: str, *, limit: int | None, offset: int = 0) -> list[Point]:
    """Every value of one metric by step, then time."""
    t = metrics.c
    query = select(t.value, t.is_nan, t.timestamp, t.step).where(t.run_id == run_id, t.key == key)
    query = query.order_by(t.step, t.timestamp, t.value).offset(offset)
    if limit is not None:
        query = query.limit(limit)
    rows = connection.execute(query)
    return [Point(key, math.nan if is_nan else value, at, step) for value, is_nan, at, step in rows]


@cache  # building a statement costs more than executing it
def _append(is_sqlite: bool) -> Executable:
    statement: Executable = upsert(is_sqlite, metrics).on_conflict_do_nothing()
    return statement


@cache
def _move_latest(is_sqlite: bool) -> Executable:
    statement = upsert(is_sqlite, latest_metrics)
    new, old = statement.excluded, latest_metrics.c
    later = or_(
        new.step > old.step,
        and_(new.step == old.step, new.timestamp > old.timestamp),
        and_(new.step == old.step, new.timestamp == old.timestamp, new.value > old.value),
    )
    moved: Executable = statement.on_conflict_do_update(
        index_elements=["run_id", "key"],
        set_={name: new[name] for name in ("value", "is_nan", "timestamp", "step")},
        where=later,
    )
    return moved


def _latest(points: Sequence[Point]) -> list[Point]:
    """One point a key: ON CONFLICT must not meet the same key twice in one statement (PostgreSQL refuses that)."""
    if len(points) == 1:
        return list(points)
    newest: dict[str, Point] = {}
    for point in points:
        known = newest.get(point.key)
        if known is None or (point.step, point.at, point.value) >= (known.step, known.at, known.value):
            newest[point.key] = point
    return list(newest.values())


def _row(run_id: str, point: Point) -> dict[str, object]:
    is_nan = math.isnan(point.value)
    return {
        "run_id": run_id,
        "key": point.key,
        "value": 0.0 if is_nan else point.value,
        "is_nan": is_nan,
        "timestamp": point.at,
        "step": point.step,
    }
