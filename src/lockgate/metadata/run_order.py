"""Runs in an order: the queries whose rows, one after the other, are sorted without being read to the end.

Missing values come last whatever the direction, after NaN; ties go to the newest run.
"""

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    FromClause,
    case,
    func,
    select,
    true,
)

from lockgate.errors import InvalidInput
from lockgate.metadata.filters import Order
from lockgate.metadata.ordering import column_sorts
from lockgate.metadata.pages import Key, Sort, Stretch
from lockgate.metadata.run_filter import TABLES, Ids, Scope, is_said, order_column
from lockgate.metadata.tables import indexed_part, runs


def walk(scope: Scope, condition: ColumnElement[bool], orders: Sequence[Order]) -> Stretch:
    """Along the index of the run's own column that is the first term of the order; of the time where there is none."""
    column = order_column(orders[0]) if orders else runs.c.start_time
    is_led = column is not runs.c.run_name and (scope.is_one or column is not runs.c.start_time)
    within = scope.condition(may_lead=is_led)
    return in_order(select(runs.c.run_id).where(within, condition), orders)


def in_order(query: Ids, orders: Sequence[Order], *, leading: Sequence[Sort] = (), first: Key = ()) -> Stretch:
    """The runs of a query, sorted; `leading` are sorts that come before, `first` what all of their sort keys share."""
    sorts = list(leading)
    for number, order in enumerate(orders):
        if order.name.is_attribute:
            column = order_column(order)
            is_name = column is runs.c.run_name
            sorts += text_sorts(column, order.ascending) if is_name else column_sorts(column, order.ascending)
            continue
        require_orderable(order)
        t = TABLES[order.name.entity].alias(f"order_{number}")
        query = query.outerjoin(t, is_said(t, order.name.key, runs.c.run_id))
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
    return [there, *(s._replace(column=func.coalesce(s.column, "")) for s in text_sorts(t.c.value, order.ascending))]


def text_sorts(column: ColumnElement[str], ascending: bool) -> list[Sort]:
    """What is indexed of a text, then all of it; both in the order of their bytes, so the text alone decides."""
    return [Sort(indexed_part(column), ascending, str), Sort(column, ascending, str)]


def require_orderable(order: Order) -> None:
    """Raises InvalidInput for what no run has a single value of."""
    entity, key = order.name
    if entity not in TABLES:
        raise InvalidInput(f"runs cannot be ordered by {entity}.{key}, only by a metric, param, tag or attribute.")
