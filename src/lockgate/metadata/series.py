"""Many values of metrics at once.

On SQLite thousands of rows are one statement and so one call of the driver, which lets go of the interpreter's lock
for as long as it lasts. Row by row the lock would be fought for at every row, and a training loop in another thread
holds it 5 ms each time.
"""

from collections.abc import Sequence
from functools import cache
from itertools import chain, repeat
from typing import NamedTuple

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Tx
from lockgate.metadata.metrics import Point, log_points

# SQLite takes 32,766 parameters a statement; four make a row.
_ROWS_A_STATEMENT = 4096


class Series(NamedTuple):
    """Values of one metric, column by column; see `metrics.Point`."""

    key: str
    values: Sequence[float]
    timestamps: Sequence[int]
    steps: Sequence[int]


def log_series(tx: Tx, run_id: str, series: Sequence[Series]) -> None:
    """Append to the histories and move the latest values; a value that is there already changes nothing.

    Raises InvalidInput for a name that cannot be stored and for a time before 1970.
    """
    series = [one for one in series if one.values]
    for one in series:
        if (earliest := min(one.timestamps)) < 0:
            raise InvalidInput(f"the metric {one.key!r} has a value at {earliest} ms; times start at 0, in 1970.")
    if not tx.is_sqlite:
        log_points(tx, run_id, [Point(one.key, *row) for one in series for row in _rows(one)])
        return
    # The newest go the way of single points, which checks the names and moves the latest values.
    log_points(tx, run_id, [_newest(one) for one in series])
    rows: list[str | float | int] = list(chain.from_iterable((one.key, *row) for one in series for row in _rows(one)))
    for start in range(0, len(rows), 4 * _ROWS_A_STATEMENT):
        _append(tx, run_id, rows[start : start + 4 * _ROWS_A_STATEMENT])


def _rows(series: Series) -> "zip[tuple[float, int, int]]":
    return zip(series.values, series.timestamps, series.steps, strict=True)


def _newest(series: Series) -> Point:
    step, at, value = max(zip(series.steps, series.timestamps, series.values, strict=True))
    return Point(series.key, value, at, step)


def _append(tx: Tx, run_id: str, rows: list[str | float | int]) -> None:
    count = len(rows) // 4
    size = 1 << (count - 1).bit_length()  # a dozen statements are prepared in all, not one for every number of rows
    padding = chain.from_iterable(repeat(rows[-4:], size - count))  # the last row again, which changes nothing
    tx.connection.exec_driver_sql(_statement(size), (run_id, *rows, *padding))


@cache
def _statement(rows: int) -> str:
    """The driver hands over a NaN as NULL."""
    return (
        "INSERT INTO metrics (run_id, key, value, is_nan, timestamp, step) "
        "SELECT ?1, column1, coalesce(column2, 0.0), column2 IS NULL, column3, column4 "
        f"FROM (VALUES {', '.join(['(?, ?, ?, ?)'] * rows)}) WHERE true ON CONFLICT DO NOTHING"
    )
