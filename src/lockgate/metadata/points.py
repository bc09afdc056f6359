"""Points of metrics as they are logged: appended to the history, and moved into the latest values.

A series is one metric of one run. It has a number, which is kept with its latest value, and its history is kept by this
number: to find where a point belongs is most of the work to store it, and numbers are compared faster than texts. So
the latest value is written first, and tells the number.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from operator import ne
from typing import NamedTuple, TypeAlias

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.binary_arrays import binary_array
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.driver import scalar
from lockgate.metadata.experiments import ACTIVE
from lockgate.metadata.limits import require_key
from lockgate.metadata.modes import WouldWait
from lockgate.metadata.runs import STAGE_OF_RUN, require_active_stage
from lockgate.metadata.sqlite_engine import driver_of
from lockgate.metadata.tables import logged_model_metrics, logged_models

# A point as it is written: key, step, time, value, whether it is a NaN. Truth is 0 or 1: sqlite3 looks for a way to
# adapt each bool, which costs as much as to store the row.
_Row: TypeAlias = tuple[str, int, int, float, int]


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


def log_points(tx: Tx, run_id: str, points: Iterable[tuple[str, float, int, int]]) -> None:
    """Append to the history and move the latest values; a point that is there already changes nothing.

    Points are tuples like `Point`: of many thousands a second, making those is what would take the time.
    Raises NotFound for the run, InvalidInput for one that is deleted, a name that cannot be stored, a time before 1970.
    """
    columns = tuple(zip(*points, strict=True))
    if not columns:
        return
    keys, values, times, steps = columns
    flags: Sequence[int] = [0] * len(values)
    if any(map(ne, values, values)):  # a NaN equals nothing
        flags = [int(value != value) for value in values]
        values = tuple(0.0 if flag else value for flag, value in zip(flags, values, strict=True))
    newest: dict[str, _Row] = {}
    for row in zip(keys, steps, times, values, flags, strict=True):
        if row > newest.get(row[0], ()):
            newest[row[0]] = row
    for key in newest:
        require_key(key, "Metric", "name")
    earliest = min(times)
    if earliest < 0:
        raise InvalidInput(
            f"Invalid value {earliest} for parameter 'timestamp' supplied: metric {keys[times.index(earliest)]!r}. "
            "Timestamp must be a nonnegative long (64-bit integer)."
        )
    latest = sorted(newest.values())  # all lock in the same order
    write = _write_to_sqlite if tx.is_sqlite else _write_to_postgresql
    require_active_stage(tx.connection, run_id, write(tx, run_id, latest, keys, (steps, times, values, flags)))


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
    tx.connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=values), [rows[key] for key in sorted(rows)]
    )


_VALUES = ("step", "timestamp", "value", "is_nan")
_APPEND = f"INSERT INTO metrics (series, {', '.join(_VALUES)})"
_KNOWN_IS_FINE = "ON CONFLICT DO NOTHING"
_IS_NEWER = (
    "(excluded.step, excluded.timestamp, excluded.value, excluded.is_nan) "
    "> (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value, latest_metrics.is_nan)"
)
# Also where it is not newer, for a row that is left as it is does not tell its number.
_MOVE = (
    "ON CONFLICT (run_id, key) DO UPDATE SET "
    + ", ".join(
        f"{name} = CASE WHEN {_IS_NEWER} THEN excluded.{name} ELSE latest_metrics.{name} END" for name in _VALUES
    )
    + " RETURNING key, series"
)

# -- SQLite -----------------------------------------------------------------------------------------------------------

# SQLite takes 32,766 parameters a statement, but a row costs a quarter more where those leave the processor's cache.
_ROWS_A_STATEMENT = 512


def _write_to_sqlite(
    tx: Tx, run_id: str, latest: Sequence[_Row], keys: Sequence[str], columns: Sequence[Sequence[float]]
) -> str | None:
    """Move the latest values and append all, whose keys and other columns are given.

    Returns the stage of the run; nothing is written where it is not active.
    """
    stage: str | None = scalar(tx.connection, STAGE_OF_RUN, run_id)
    if stage != ACTIVE:
        return stage
    execute = driver_of(tx.connection).execute
    if len(keys) == 1:  # as below, without the making of lists, which takes as long as SQLite does
        ((_, number),) = execute(_sqlite_move(1), (run_id, *latest[0])).fetchall()
        execute(_sqlite_append(1), (number, *latest[0][1:]))
        return stage
    # Hundreds of rows are one call of the driver, which lets go of the interpreter's lock for as long as it lasts.
    # Row by row it would be fought for at every row, and a training loop in another thread holds it 5 ms each time.
    series: dict[str, int] = {}
    for size, values in _parts(latest):
        series.update(execute(_sqlite_move(size), (run_id, *values)).fetchall())
    for size, values in _parts(list(zip(map(series.__getitem__, keys), *columns, strict=True))):
        execute(_sqlite_append(size), values)
    return stage


def _parts(rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[int, tuple[object, ...]]]:
    """(number of rows, their values): the last is repeated, so that a dozen statements are prepared in all."""
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        part = rows[start : start + _ROWS_A_STATEMENT]
        size = 1 << (len(part) - 1).bit_length()
        yield size, tuple(chain(*part, *[part[-1]] * (size - len(part))))


@lru_cache
def _sqlite_move(size: int) -> str:
    """A new series has the next number, of those of a statement each its own.

    The largest number is given again when its row is deleted, which therefore must not go without its history.
    """
    rows = ", ".join(f"(?, ?, ?, ?, ?, {number})" for number in range(1, 1 + size))
    number = "(SELECT coalesce(max(series), 0) FROM latest_metrics) + column6"
    return (
        f"INSERT INTO latest_metrics (run_id, key, {', '.join(_VALUES)}, series) "
        # A SELECT before ON CONFLICT needs a WHERE, or its ON would be that of a join.
        f"SELECT ?1, column1, column2, column3, column4, column5, {number} FROM (VALUES {rows}) WHERE true {_MOVE}"
    )


@lru_cache
def _sqlite_append(size: int) -> str:
    return f"{_APPEND} VALUES {', '.join(['(?, ?, ?, ?, ?)'] * size)} {_KNOWN_IS_FINE}"


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


def _write_to_postgresql(
    tx: Tx, run_id: str, latest: Sequence[_Row], keys: Sequence[str], columns: Sequence[Sequence[float]]
) -> str | None:
    """The same in one statement."""
    from lockgate.metadata.libpq import value_of

    many = len(keys) > 1  # arrays of one value each take PostgreSQL twice as long
    values: list[str | bytes] = [run_id]
    if many:
        place = {row[0]: number for number, row in enumerate(latest, 1)}
        values += map(binary_array, _KINDS, zip(*latest, strict=True))
        values += map(binary_array, _PLACED, (list(map(place.__getitem__, keys)), *columns))
    else:
        key, *numbers = latest[0]
        values += (key, *map(repr, numbers))

    if tx.moment is not None:
        stage = tx.moment.value_of(_postgres_statement(many=many, all_new=True), values)
        if stage is None:
            raise WouldWait("there is no such run, and to look for it again takes its time.")
        return stage
    if tx.is_single:  # nearly always all points are new, and to look first whether they are costs PostgreSQL two fifths
        with suppress(IntegrityError):
            return value_of(tx.connection, _postgres_statement(many=many, all_new=True), values, is_alone=True)
    return value_of(tx.connection, _postgres_statement(many=many, all_new=False), values, is_alone=tx.is_single)


_KINDS = ("TEXT", "BIGINT", "BIGINT", "DOUBLE PRECISION", "BOOLEAN")  # of a row
_PLACED = ("INTEGER", *_KINDS[1:])  # of a point that says the place of its key among the latest


@lru_cache
def _postgres_statement(*, many: bool, all_new: bool) -> str:
    """`$1` is the run, `$2` to `$6` are the row; of `many` rows these are columns of the latest, `$7` to `$11` of all.

    Where they must be `all_new`, a point that is there already fails it.
    """
    is_active = f"(SELECT stage FROM given) = '{ACTIVE}'"
    if many:
        latest = f"unnest({_parameters(_KINDS, 2, '[]')})"
        points = (
            f"SELECT (SELECT array_agg(series ORDER BY key) FROM moved)[place], {', '.join(_VALUES)} "
            f"FROM unnest({_parameters(_PLACED, 7, '[]')}) AS point (place, {', '.join(_VALUES)}) WHERE {is_active}"
        )
    else:
        latest = f"(SELECT {_parameters(_KINDS, 2)})"
        points = f"SELECT series, {_parameters(_KINDS[1:], 3)} FROM moved"
    # The lock that a foreign key would ask for with every row: others may change the run, but not delete it.
    return (
        f"WITH given (stage) AS ({STAGE_OF_RUN.replace('?', '$1::TEXT')} FOR KEY SHARE), "
        f"moved AS (INSERT INTO latest_metrics (run_id, key, {', '.join(_VALUES)}) "
        f"SELECT $1::TEXT, latest.* FROM {latest} AS latest WHERE {is_active} {_MOVE}), "
        f"appended AS ({_APPEND} {points} {'' if all_new else _KNOWN_IS_FINE}) "
        "SELECT stage FROM given"
    )


def _parameters(kinds: Sequence[str], first: int, suffix: str = "") -> str:
    return ", ".join(f"${number}::{kind}{suffix}" for number, kind in enumerate(kinds, first))
