"""Metrics of runs: the whole history, and the latest value of each for reading and searching."""

import math
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    and_,
    case,
    func,
    select,
    true,
    type_coerce,
)

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.driver import KNOWN_IS_FINE, Insert, insert, plain_rows, rows_among
from lockgate.metadata.limits import require_key
from lockgate.metadata.pages import LARGEST, Page, Sort, Stretch, fetch_page
from lockgate.metadata.runs import IN_ACTIVE_RUN, require_active_stage
from lockgate.metadata.tables import latest_metrics, logged_model_metrics, logged_models, metrics


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


# Of a value as it is read: its time, step, value and whether it is a NaN, which is kept as 0.
Found: TypeAlias = tuple[int, int, float, int]


def log_points(tx: Tx, run_id: str, points: Iterable[tuple[str, float, int, int]]) -> None:
    """Append to the history and move the latest values; a point that is there already changes nothing.

    Points are tuples like `Point`: of many thousands a second, making those is what would take the time.
    Raises NotFound for the run, InvalidInput for one that is deleted, a name that cannot be stored, a time before 1970.
    """
    rows = [
        (key, step, at, value, 0) if value == value else (key, step, at, 0.0, 1)  # a NaN equals nothing
        for key, value, at, step in points
    ]
    # One row a key: no two may conflict with each other (`insert`).
    newest: dict[str, tuple[str, int, int, float, int]] = {}
    for row in rows:
        known = newest.get(row[0])
        if known is None or row > known:
            newest[row[0]] = row
    for key in newest:
        require_key(key, "Metric", "name")
    earliest = min(rows, key=_time, default=None)
    if earliest is not None and earliest[2] < 0:
        raise InvalidInput(
            f"Invalid value {earliest[2]} for parameter 'timestamp' supplied: metric {earliest[0]!r}. "
            "Timestamp must be a nonnegative long (64-bit integer)."
        )
    if rows:
        latest = sorted(newest.values())  # all lock in the same order
        stage = insert(tx, run_id, (_APPEND, rows), (_MOVE_LATEST, latest), given=IN_ACTIVE_RUN)
        require_active_stage(tx.connection, run_id, stage)


def log_model_points(tx: Tx, run_id: str, points: Sequence[ModelPoint]) -> None:
    """Append to what was measured of logged models; of a value that is there already the later one counts.

    Raises NotFound for a model that is not there.
    """
    if not points:
        return
    wanted = {point.model_id for point in points}
    known = set(tx.connection.scalars(select(logged_models.c.model_id).where(logged_models.c.model_id.in_(wanted))))
    if wanted - known:
        raise NotFound(f"Logged model with ID '{min(wanted - known)}' not found.")
    rows = {}
    for item in points:
        point = item.point
        key = (item.model_id, point.key, point.at, point.step, item.dataset_name, item.dataset_digest)
        is_nan = math.isnan(point.value)
        rows[key] = {
            "run_id": run_id,
            "key": point.key,
            "value": 0.0 if is_nan else point.value,
            "is_nan": is_nan,
            "timestamp": point.at,
            "step": point.step,
            "model_id": item.model_id,
            "dataset_name": item.dataset_name,
            "dataset_digest": item.dataset_digest,
        }
    statement = upsert(tx.is_sqlite, logged_model_metrics)
    keys = ["model_id", "key", "timestamp", "step", "run_id", "dataset_name", "dataset_digest"]
    values = {name: statement.excluded[name] for name in ("value", "is_nan")}
    tx.connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), list(rows.values()))


def latest_of(connection: Connection, run_ids: Sequence[str]) -> Sequence[tuple[str, str, float, int, int, int]]:
    """(run id, key, value, is NaN, time, step) of the latest value of each metric, by run and name."""
    return rows_among(connection, _LATEST, among=run_ids)


def history(connection: Connection, run_id: str, key: str) -> Sequence[Found]:
    """One metric by time, then step."""
    t = metrics.c
    query = select(*_columns()).where(t.run_id == run_id, t.key == key)
    return plain_rows(connection, query.order_by(t.timestamp, t.step, t.value))


def history_page(connection: Connection, run_id: str, key: str, *, max_results: int, page_token: str) -> Page:
    """A part of `history`. Raises InvalidInput for a token of another one."""
    t = metrics.c
    is_sqlite = connection.dialect.name == "sqlite"  # which is at the end of its index already
    flag = _flag(t.is_nan) if is_sqlite else case((t.is_nan == true(), 1), else_=0)
    sorts = (Sort(t.timestamp, True, int), Sort(t.step, True, int), Sort(t.value, True, float), Sort(flag, True, int))
    stretch = Stretch(select().where(t.run_id == run_id, t.key == key), sorts)
    question = ("history", run_id, key)
    size = min(max_results, LARGEST)
    return fetch_page(connection, [stretch], max_results=size, token=page_token, question=question, is_plain=True)


def histories(
    connection: Connection, run_ids: Sequence[str], key: str, *, limit: int
) -> Sequence[Row[str, int, int, float, int]]:
    """(run id, time, step, value, is NaN) of one metric of several runs, in that order; `limit` at most."""
    t = metrics.c
    query = select(t.run_id, *_columns()).where(t.run_id.in_(run_ids), t.key == key)
    return connection.execute(query.order_by(t.run_id, t.timestamp, t.step, t.value).limit(limit)).all()


def sample_history(
    connection: Connection, run_id: str, key: str, *, size: int, steps: tuple[int, int] | None
) -> Sequence[Found]:
    """At most `size` values by step, evenly spread over the history or over an interval of its steps.

    The first and the last value are among them; of a sample of one it is the last.
    """
    t = metrics.c
    within = and_(t.run_id == run_id, t.key == key, true() if steps is None else t.step.between(*steps))
    count = connection.scalar(select(func.count()).select_from(metrics).where(within)) or 0
    number = func.row_number().over(order_by=(t.step, t.timestamp, t.value, t.is_nan))
    numbered = select(*_columns(), number.label("number")).where(within).subquery()
    chosen = select(numbered.c.timestamp, numbered.c.step, numbered.c.value, numbered.c.is_nan)
    if count > size:
        chosen = chosen.where(numbered.c.number.in_(_spread(count, size)))
    return plain_rows(connection, chosen.order_by(numbered.c.number))


def _spread(count: int, size: int) -> list[int]:
    """Numbers from 1 to `count`: where `size` groups of nearly equal length begin, but the last number for the last."""
    length, longer = divmod(count, size)  # the first groups are longer by one
    return [1 + group * length + min(group, longer) for group in range(size - 1)] + [count]


def _columns() -> tuple[ColumnElement[Any], ...]:
    t = metrics.c
    return t.timestamp, t.step, t.value, _flag(t.is_nan)


def _flag(is_nan: ColumnElement[bool]) -> ColumnElement[int]:
    """As the driver has it: making a bool of each costs as much as reading the row."""
    return type_coerce(is_nan, Integer()).label("is_nan")


_time = itemgetter(2)  # of a row
_LATEST = (
    "SELECT run_id, key, value, is_nan, timestamp, step FROM latest_metrics WHERE run_id IN ? ORDER BY run_id, key"
)
_COLUMNS = ("key", "step", "timestamp", "value", "is_nan")
_APPEND = Insert(metrics, "run_id", _COLUMNS, KNOWN_IS_FINE)
_MOVE_LATEST = Insert(
    latest_metrics,
    "run_id",
    _COLUMNS,
    "ON CONFLICT (run_id, key) DO UPDATE SET "
    "step = excluded.step, timestamp = excluded.timestamp, value = excluded.value, is_nan = excluded.is_nan "
    "WHERE (excluded.step, excluded.timestamp, excluded.value) "
    "> (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)",
)
