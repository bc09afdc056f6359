"""Reading metrics of runs: the latest value of each, and its history."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Integer, Select, case, func, select, true, type_coerce

from lockgate.metadata.driver import plain_rows, prefer_walks, rows_among
from lockgate.metadata.pages import LARGEST, Page, Sort, Stretch, fetch_page
from lockgate.metadata.tables import latest_metrics, metrics

# Of a value as it is read: its time, step, value and whether it is a NaN, which is kept as 0.
Found: TypeAlias = tuple[int, int, float, int]


def latest_of(connection: Connection, run_ids: Sequence[str]) -> Sequence[tuple[str, str, float, int, int, int]]:
    """(run id, key, value, is NaN, time, step) of the latest value of each metric, by run and name."""
    return rows_among(connection, _LATEST, among=run_ids)


def history(connection: Connection, run_id: str, key: str) -> Sequence[Found]:
    """One metric by time, then step."""
    prefer_walks(connection)  # PostgreSQL would rather sort, on its disk where it is much
    return plain_rows(connection, _in_order(run_id, key))


def history_page(connection: Connection, run_id: str, key: str, *, max_results: int, page_token: str) -> Page:
    """A part of `history`. Raises InvalidInput for a token of another one."""
    prefer_walks(connection)
    t = metrics.c
    is_sqlite = connection.dialect.name == "sqlite"  # which is at the end of its index already
    flag = _flag(t.is_nan) if is_sqlite else case((t.is_nan == true(), 1), else_=0)
    sorts = (Sort(t.timestamp, True, int), Sort(t.step, True, int), Sort(t.value, True, float), Sort(flag, True, int))
    stretch = Stretch(select().where(_is_of(run_id, key)), sorts)
    question = ("history", run_id, key)
    size = min(max_results, LARGEST)
    return fetch_page(connection, [stretch], max_results=size, token=page_token, question=question, is_plain=True)


def histories(
    connection: Connection, run_ids: Sequence[str], key: str, *, limit: int
) -> list[tuple[str, int, int, float, int]]:
    """(run id, time, step, value, is NaN) of one metric of several runs, in that order; `limit` at most."""
    prefer_walks(connection)
    found: list[tuple[str, int, int, float, int]] = []
    for run_id in sorted(set(run_ids)):  # one after the other, for all at once would be read whole and sorted
        query = _in_order(run_id, key).limit(limit - len(found))
        found += [(run_id, *value) for value in plain_rows(connection, query)]
        if len(found) == limit:
            break
    return found


def sample_history(
    connection: Connection, run_id: str, key: str, *, size: int, steps: tuple[int, int] | None
) -> Sequence[Found]:
    """At most `size` values by step, evenly spread over the history or over an interval of its steps.

    The first and the last value are among them; of a sample of one it is the last.
    """
    t = metrics.c
    within = _is_of(run_id, key)
    if steps is not None:
        within &= t.step.between(*steps)
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


def _in_order(run_id: str, key: str) -> Select[*tuple[Any, ...]]:
    t = metrics.c
    return select(*_columns()).where(_is_of(run_id, key)).order_by(t.timestamp, t.step, t.value)


def _is_of(run_id: str, key: str) -> ColumnElement[bool]:
    """Of the history of one metric."""
    of = latest_metrics.c
    series = select(of.series).where(of.run_id == run_id, of.key == key).scalar_subquery()
    return metrics.c.series == series


def _columns() -> tuple[ColumnElement[Any], ...]:
    t = metrics.c
    return t.timestamp, t.step, t.value, _flag(t.is_nan)


def _flag(is_nan: ColumnElement[bool]) -> ColumnElement[int]:
    """As the driver has it: making a bool of each costs as much as reading the row."""
    return type_coerce(is_nan, Integer()).label("is_nan")


_LATEST = (
    "SELECT run_id, key, value, is_nan, timestamp, step FROM latest_metrics WHERE run_id IN ? ORDER BY run_id, key"
)
