"""Finding runs: a filter, an order and a page -> the ids of runs.

A database of a million runs is not to be read for a page of a hundred, and a planner without statistics of values
cannot know which way is short. So this decides, after a bounded look at the indexes:

    gather   where the scope, or one comparison that everything found must satisfy, or all of these together, leave few
             runs: take those few, check the rest of the filter on each, and sort them
    walk     otherwise: go along the index that has the order asked for, check the filter run by run, stop at a page

Missing values come last whatever the direction, after NaN; ties go to the newest run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal_column,
    not_,
    select,
    true,
)

from lockgate.metadata.conditions import holds, require_entity, required, without
from lockgate.metadata.experiments import ACTIVE, DELETED
from lockgate.metadata.filters import Filter, Order, parse_filter, parse_order
from lockgate.metadata.ordering import column_sorts
from lockgate.metadata.pages import Page, Sort, Stretch, fetch_page
from lockgate.metadata.run_filter import TABLES, Ids, leading_to, matches, order_column
from lockgate.metadata.tables import indexed_part, runs

# So many runs are checked and sorted in a few milliseconds.
FEW = 5000
# A walk of so many times more runs is a long one; so many times more ids are worth taking from an index instead.
_LONG, _MANY = 2, 40
_SAMPLE = 200
_SAMPLE_START = "5"


@dataclass(frozen=True)
class _Scope:
    """Where to look: experiments and life-cycle stages."""

    experiment_ids: tuple[int, ...]
    stages: tuple[str, ...]

    @property
    def is_one(self) -> bool:
        return len(self.experiment_ids) == 1 and len(self.stages) == 1

    def condition(self, *, may_lead: bool) -> ColumnElement[bool]:
        """`may_lead` False keeps the planner from starting at an index of experiments."""
        column = runs.c.experiment_id if may_lead else runs.c.experiment_id + literal_column("0")
        # Written into the statement: there may be more experiments than a statement may have parameters.
        ids = bindparam("experiment_ids", list(self.experiment_ids), BigInteger(), expanding=True, literal_execute=True)
        stage = runs.c.lifecycle_stage
        return and_(
            column == self.experiment_ids[0] if len(self.experiment_ids) == 1 else column.in_(ids),
            stage == self.stages[0] if len(self.stages) == 1 else stage.in_(self.stages),
        )


def search_runs(
    connection: Connection,
    *,
    experiment_ids: Sequence[int],
    filter_: str,
    order_by: Sequence[str],
    view: str,
    max_results: int,
    page_token: str,
    few: int = FEW,
) -> Page:
    """Rows with a `run_id`. Raises InvalidInput for a filter, order or token that cannot be read.

    `few` decides between the two ways, which find the same runs in the same order.
    """
    tree = parse_filter(filter_)
    condition = holds(tree, matches)
    orders = parse_order(order_by)
    stages = {"ALL": (ACTIVE, DELETED), "ACTIVE_ONLY": (ACTIVE,), "DELETED_ONLY": (DELETED,)}[view]
    scope = _Scope(tuple(sorted(set(experiment_ids))), stages)
    gathered = _gathered(connection, scope, tree, few=few, page=max_results)
    if gathered is not None:
        stretches = [_sorted(select(runs.c.run_id).where(gathered), orders)]
    else:
        stretches = _walks(scope, condition, orders)
    question = (scope.experiment_ids, filter_, tuple(order_by), view)
    return fetch_page(connection, stretches, max_results=max_results, token=page_token, question=question)


# -- which way --------------------------------------------------------------------------------------------------------


def _gathered(
    connection: Connection, scope: _Scope, tree: Filter, *, few: int, page: int
) -> ColumnElement[bool] | None:
    """The whole condition, said so that indexes lead to few runs; None where it is shorter to walk."""
    leading, within = scope.condition(may_lead=True), scope.condition(may_lead=False)
    condition = holds(tree, matches)
    sources = [(select(runs.c.run_id).where(leading), and_(leading, condition))]
    indexed = [(comparison, leading_to(comparison)) for comparison in required(tree)]
    for comparison, ids in indexed:
        if ids is not None:
            rest = holds(without(tree, comparison), matches)
            sources.append((ids, and_(within, runs.c.run_id.in_(ids), rest)))
    counts = [_count(connection, ids, few) for ids, _ in sources]
    fewest = min(counts)
    smallest = sources[counts.index(fewest)][1]
    if fewest <= few // 10:
        return smallest
    steps = _steps(connection, and_(within, condition), page)
    if fewest <= few and fewest <= steps:
        return smallest
    if steps <= _LONG * few or len(sources) == 1:
        return None
    # Each holds for many and all of them for few: a walk would be long, so what they have in common is looked for.
    most = _MANY * few
    common = [runs.c.run_id.in_(ids) for ids, _ in sources[1:] if _count(connection, ids, most) <= most]
    return and_(within, *common, condition) if common else None


def _steps(connection: Connection, condition: ColumnElement[bool], page: int) -> float:
    """How many runs a walk passes until a page is full, by a sample. Ids are random, so neighbours are a sample."""
    sample = select(runs.c.run_id).where(runs.c.run_id > _SAMPLE_START).order_by(runs.c.run_id).limit(_SAMPLE)
    found = connection.scalar(select(func.count()).select_from(runs).where(runs.c.run_id.in_(sample), condition))
    return page * _SAMPLE / found if found else math.inf


def _count(connection: Connection, ids: Ids, few: int) -> int:
    """How many there are; nobody looks further than one beyond `few`."""
    return connection.scalar(select(func.count()).select_from(ids.limit(few + 1).subquery())) or 0


# -- the order --------------------------------------------------------------------------------------------------------


def _walks(scope: _Scope, condition: ColumnElement[bool], orders: Sequence[Order]) -> list[Stretch]:
    """Along the index of the first term: what has a value, then NaN, then what has none."""
    anywhere = scope.condition(may_lead=False)
    if not orders or (orders[0].name.entity in ("", "attribute")):
        column = order_column(orders[0]) if orders else runs.c.start_time
        is_led = column is not runs.c.run_name and (scope.is_one or column is not runs.c.start_time)
        within = scope.condition(may_lead=True) if is_led else anywhere
        return [_sorted(select(runs.c.run_id).where(within, condition), orders)]
    (entity, key), ascending = orders[0]
    _require_orderable(orders[0])
    t = TABLES[entity].alias("first")
    # No index holds this expression, so a planner with statistics cannot start at the runs and sort them all.
    run_id = t.c.run_id.concat(literal_column("''"))
    joined = t.join(runs, runs.c.run_id == run_id)
    having = select(runs.c.run_id).select_from(joined).where(t.c.key == key, anywhere, condition)
    lacking = select(runs.c.run_id).where(
        scope.condition(may_lead=True),
        condition,
        not_(exists().where(t.c.run_id == runs.c.run_id, t.c.key == key)),
    )
    rest = orders[1:]
    if entity == "metric":
        value = (Sort(t.c.value, ascending, float),)
        return [
            _sorted(having.where(t.c.is_nan == false()), rest, leading=value, first=(0,)),
            _sorted(having.where(t.c.is_nan == true()), rest, first=(1, 0.0)),
            _sorted(lacking, rest, first=(2, 0.0)),
        ]
    texts = (Sort(indexed_part(t.c.value), ascending, str), Sort(t.c.value, ascending, str))
    return [_sorted(having, rest, leading=texts, first=(0,)), _sorted(lacking, rest, first=(1, "", ""))]


def _sorted(
    query: Ids,
    orders: Sequence[Order],
    *,
    leading: tuple[Sort, ...] = (),
    first: tuple[int, *tuple[float | str, ...]] | tuple[()] = (),
) -> Stretch:
    sorts = list(leading)
    for number, order in enumerate(orders):
        if order.name.entity in ("", "attribute"):
            sorts += column_sorts(order_column(order), order.ascending)
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
    value = func.coalesce(t.c.value, "")
    return [
        Sort(case((missing, 1), else_=0), True, int),
        Sort(func.coalesce(indexed_part(t.c.value), ""), order.ascending, str),
        Sort(value, order.ascending, str),
    ]


def _require_orderable(order: Order) -> None:
    require_entity(order.name, ("attribute", "metric", "param", "tag"), of="orders of runs")
