"""Runs in an order: the queries whose rows, one after the other, are sorted without being read to the end.

Missing values come last whatever the direction, after NaN; ties go to the newest run. Where very many runs have the
same value of a metric, param or tag, these are again in the order of time, and walked so.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Subquery,
    and_,
    case,
    exists,
    false,
    func,
    literal_column,
    not_,
    select,
    true,
)

from lockgate.errors import InvalidInput
from lockgate.metadata.driver import prefer_walks
from lockgate.metadata.filters import Filter, Order
from lockgate.metadata.ordering import column_sorts
from lockgate.metadata.pages import Key, Sort, Stretch, place_in
from lockgate.metadata.run_filter import TABLES, Ids, Scope, by_value, order_column, satisfies
from lockgate.metadata.tables import indexed_part, is_whole, runs

SAMPLE, SAMPLE_START = 200, "5"
_COMMON = 0.05  # of so many runs a walk soon fills a page, and need not know whether they are too many to be sorted


def walk(scope: Scope, condition: ColumnElement[bool], orders: Sequence[Order]) -> Stretch:
    """Along the index of the run's own column that is the first term of the order; of the time where there is none."""
    column = order_column(orders[0]) if orders else runs.c.start_time
    is_led = column is not runs.c.run_name and (scope.is_one or column is not runs.c.start_time)
    within = scope.condition(may_lead=is_led)
    return in_order(select(runs.c.run_id).where(within, condition), orders)


def walk_by_value(
    connection: Connection,
    scope: Scope,
    tree: Filter,
    orders: Sequence[Order],
    *,
    after: Key | None,
    reach: int,
    few: int,
) -> Iterator[Stretch]:
    """Along the index of the first term, a metric, param or tag: what has a value, then NaN, then what has none.

    Nothing is read for a stretch before the one of `after`, nor for one that the page does not reach; the first query
    of a value reaches over `reach` rows of its index. Up to `few` runs with the same value are read and sorted.
    """
    (entity, key), ascending = orders[0]
    rest = orders[1:]
    _require_orderable(orders[0])
    t = TABLES[entity].alias("first")
    is_metric = entity == "metric"
    kept = and_(t.c.key == key, t.c.is_nan == false()) if is_metric else t.c.key == key
    leading = [Sort(t.c.value, ascending, float)] if is_metric else _text_sorts(t.c.value, ascending)
    # No index holds this expression, so a planner with statistics cannot start at the runs and sort them all.
    run_id = t.c.run_id.concat(literal_column("''"))
    passing = and_(scope.condition(may_lead=False), satisfies(tree, t.c.run_id))
    having = select(runs.c.run_id).select_from(t.join(runs, runs.c.run_id == run_id)).where(passing)
    newest = select(runs.c.run_id).where(scope.condition(may_lead=True))

    def sorted_here(part: ColumnElement[bool]) -> Stretch:
        return in_order(having.where(part), rest, leading=leading, first=(0,))

    has_index = not rest or (rest[0].name.is_attribute and order_column(rest[0]) is runs.c.start_time)

    def has(part: ColumnElement[bool]) -> ColumnElement[bool]:
        # The part is what is asked of the row, and no way to it: PostgreSQL without statistics would take it for one.
        said = select(part).where(t.c.run_id == runs.c.run_id, t.c.key == key)
        if scope.is_sqlite:
            said = by_value(said.where(part), t, entity)
        return func.coalesce(said.scalar_subquery(), false())

    def walk_with(part: ColumnElement[bool], *, first: Key) -> Stretch:
        return in_order(newest.where(has(part), satisfies(tree)), rest, first=first)

    def is_many(part: ColumnElement[bool]) -> bool:
        if _share(connection, scope, has(part)) >= _COMMON:
            return True
        return connection.scalar(select(t.c.run_id).where(part).offset(few).limit(1)) is not None

    place = () if after is None else place_in(sorted_here(kept), after)
    if place is not None:
        for part, value in _parts(connection, kept, leading[0], place, reach):
            if value is None:
                yield sorted_here(part)
            elif has_index and is_whole(connection, value) and is_many(part):
                yield walk_with(part, first=(0, *[value] * len(leading)))
            else:
                yield from _gathering(connection, sorted_here(part))
    if is_metric:
        nans = and_(t.c.key == key, t.c.is_nan == true())
        if has_index and is_many(nans):
            yield walk_with(nans, first=(1, 0.0))
        else:
            yield from _gathering(connection, in_order(having.where(nans), rest, first=(1, 0.0)))
    lacks = not_(exists().where(t.c.run_id == runs.c.run_id, t.c.key == key))
    yield in_order(newest.where(satisfies(tree), lacks), rest, first=(2, 0.0) if is_metric else (1, "", ""))


def sample_runs(*columns: ColumnElement[Any]) -> Subquery:
    """The ids of `SAMPLE` runs, with columns. They are neighbours, and ids are random."""
    neighbours = select(runs.c.run_id, *columns).where(runs.c.run_id > SAMPLE_START)
    return neighbours.order_by(runs.c.run_id).limit(SAMPLE).subquery()


def _share(connection: Connection, scope: Scope, condition: ColumnElement[bool]) -> float:
    """How many of all runs are in scope and satisfy a condition, by a sample."""
    sample = sample_runs()
    of_sample = select(func.count()).select_from(sample.join(runs, runs.c.run_id == sample.c.run_id))
    found = connection.execute(of_sample.where(scope.condition(may_lead=False), condition)).scalar_one()
    return found / SAMPLE


def _gathering(connection: Connection, stretch: Stretch) -> Iterator[Stretch]:
    """For rows that no index has in their order: PostgreSQL, kept from sorting, would look for each run in all others.

    Whoever asks for the next stretch has read this one.
    """
    prefer_walks(connection, may_sort=True)
    yield stretch
    prefer_walks(connection)


def _parts(
    connection: Connection, kept: ColumnElement[bool], sort: Sort, place: Key, size: int
) -> Iterator[tuple[ColumnElement[bool], float | str | None]]:
    """The values of one key from a place on, in their order, a part at a time, and the value if all in it have one.

    A part has about `size` rows, which doubles from part to part, so that a long walk takes few of them; one value that
    more rows have is a part of its own.
    """
    column, ascending, _ = sort
    left = kept
    if place:
        left = and_(kept, column >= place[0] if ascending else column <= place[0])
    while True:
        values = select(column).where(left).order_by(column if ascending else column.desc()).limit(1)
        ends = select(values.scalar_subquery(), values.offset(size).scalar_subquery())
        first, later = connection.execute(ends).one()
        if first is None:
            return
        if later is None:
            yield left, None
            return
        if later == first:
            yield and_(kept, column == first), first
            left = and_(kept, column > first if ascending else column < first)
        else:
            yield and_(left, column < later if ascending else column > later), None
            left = and_(kept, column >= later if ascending else column <= later)
        size *= 2


def in_order(query: Ids, orders: Sequence[Order], *, leading: Sequence[Sort] = (), first: Key = ()) -> Stretch:
    """The runs of a query, sorted; `leading` are sorts that come before, `first` what all of their sort keys share."""
    sorts = list(leading)
    for number, order in enumerate(orders):
        if order.name.is_attribute:
            column = order_column(order)
            is_name = column is runs.c.run_name
            sorts += _text_sorts(column, order.ascending) if is_name else column_sorts(column, order.ascending)
            continue
        _require_orderable(order)
        t = TABLES[order.name.entity].alias(f"order_{number}")
        query = query.outerjoin(t, and_(t.c.run_id == runs.c.run_id, t.c.key == order.name.key))
        sorts += _joined_sorts(t, order)
    if not any(sort.column is runs.c.start_time for sort in sorts):
        sorts.append(Sort(runs.c.start_time, False, int))
    return Stretch(query, (*sorts, Sort(runs.c.run_id, True, str)), first)


def _joined_sorts(t: FromClause, order: Order) -> list[Sort]:
    """The same key as a walk's: the rank of what is there or missing, then the value."""
    missing = t.c.run_id.is_(None)
    if order.name.entity == "metric":
        rank = case((missing, 2), (t.c.is_nan == true(), 1), else_=0)
        return [Sort(rank, True, int), Sort(func.coalesce(t.c.value, 0.0), order.ascending, float)]
    there = Sort(case((missing, 1), else_=0), True, int)
    return [there, *(s._replace(column=func.coalesce(s.column, "")) for s in _text_sorts(t.c.value, order.ascending))]


def _text_sorts(column: ColumnElement[str], ascending: bool) -> list[Sort]:
    """What is indexed of a text, then all of it; both in the order of their bytes, so the text alone decides."""
    return [Sort(indexed_part(column), ascending, str), Sort(column, ascending, str)]


def _require_orderable(order: Order) -> None:
    entity, key = order.name
    if entity not in TABLES:
        raise InvalidInput(f"runs cannot be ordered by {entity}.{key}, only by a metric, param, tag or attribute.")
