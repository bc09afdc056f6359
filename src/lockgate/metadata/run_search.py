"""Finding runs: a filter, an order and a page -> the ids of runs.

A database of a million runs is not to be read for a page of a hundred, and a planner without statistics of values
cannot know which way is short. So this decides, after a bounded look at the indexes:

    gather   where the scope, or one comparison that everything found must satisfy, or all of these together, leave few
             runs: take those few, check the rest of the filter on each, and sort them
    walk     otherwise: go along the index that has the order asked for, check the filter run by run, stop at a page

`run_order` has the order of both.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, select, true

from lockgate.ids import RUN_ID
from lockgate.metadata.conditions import required, without
from lockgate.metadata.driver import prefer_walks
from lockgate.metadata.experiments import ACTIVE, DELETED
from lockgate.metadata.filters import Comparison, Filter, parse_filter, parse_order
from lockgate.metadata.pages import Page, Stretch, fetch_page, place_of
from lockgate.metadata.run_filter import Ids, Scope, leading_to, satisfies
from lockgate.metadata.run_order import in_order, walk
from lockgate.metadata.run_sample import SAMPLE, SAMPLE_START, sample_runs
from lockgate.metadata.tables import runs
from lockgate.metadata.value_order import ValueOrder

# So many runs are checked and sorted in a few milliseconds.
FEW = 5000
# A walk of so many times more runs is a long one; so many times more ids are worth taking from an index instead.
_LONG, _MANY = 2, 40


class _Likely(NamedTuple):
    """Estimates: how many runs a walk passes until a page is full, and how many would be found in all.

    `leading` is a comparison of a text that everything found must satisfy, where there is one, and `led` how many do.
    """

    steps: float
    found: float
    leading: Comparison | None
    led: float


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

    `few` runs decide between the two ways, which find the same runs in the same order.
    """
    tree = parse_filter(filter_)
    orders = parse_order(order_by)
    stages = {"ALL": (ACTIVE, DELETED), "ACTIVE_ONLY": (ACTIVE,), "DELETED_ONLY": (DELETED,)}[view]
    scope = Scope(tuple(sorted(set(experiment_ids))), stages, connection.dialect.name == "sqlite")
    question = (scope.experiment_ids, filter_, tuple(order_by), view)
    condition = satisfies(tree)
    likely = _likely(connection, scope, tree, max_results)
    prefer_walks(connection)  # or PostgreSQL gathers all that hold before it counts the first few of them
    gathered = _gathered(connection, scope, tree, condition, few=few, likely=likely)
    stretches: Iterable[Stretch]
    if gathered is not None:
        prefer_walks(connection, prefer=False)
        stretches = [in_order(select(runs.c.run_id).where(gathered), orders)]
    elif not orders or orders[0].name.is_attribute:
        stretches = [walk(scope, condition, orders)]
    else:
        after, reach = place_of(page_token, question), _reach(likely.steps, few)
        stretches = ValueOrder(connection, scope, tree, orders, few=few).stretches(after=after, reach=reach)
    return fetch_page(connection, stretches, max_results=max_results, token=page_token, question=question)


def _gathered(
    connection: Connection, scope: Scope, tree: Filter, condition: ColumnElement[bool], *, few: int, likely: _Likely
) -> ColumnElement[bool] | None:
    """The whole condition, said so that indexes lead to few runs; None where it is shorter to walk."""
    worth = max(int(min(few, likely.steps)), few // 10)
    is_long = likely.steps > _LONG * few
    if likely.found > worth and not is_long:
        return None  # the scope and each comparison leave as many; where few more, both ways are about as short
    leading, within = scope.condition(may_lead=True), scope.condition(may_lead=False)
    # Of a text PostgreSQL's index has but the beginning, so they are read to be counted, and again when gathered.
    many = likely.leading if 2 * likely.led > worth and not is_long else None
    indexed = [(c, ids) for c in required(tree) if c is not many and (ids := leading_to(c)) is not None]
    in_scope, *counts = _counts(connection, [select(runs.c.run_id).where(leading), *(ids for _, ids in indexed)], worth)
    fewest = min(counts, default=in_scope)
    if in_scope <= min(worth, fewest):
        return and_(leading, condition)
    if fewest <= worth:
        comparison, ids = indexed[counts.index(fewest)]
        return and_(within, runs.c.run_id.in_(ids), satisfies(without(tree, comparison)))
    if not is_long or not indexed:
        return None
    # Each holds for many and all of them for few: a walk would be long, so what they have in common is looked for.
    most = _MANY * few
    all_counts = _counts(connection, [ids for _, ids in indexed], most)
    common = [runs.c.run_id.in_(ids) for (_, ids), count in zip(indexed, all_counts, strict=True) if count <= most]
    return and_(within, *common, condition) if common else None


def _likely(connection: Connection, scope: Scope, tree: Filter, page: int) -> _Likely:
    """By a sample. Ids are random, so neighbours are a sample, and how near they are tells how many there are."""
    leading = next((c for c in required(tree) if c.operator == "=" and c.name.entity in ("param", "tag")), None)
    is_led = true() if leading is None else satisfies(leading)
    rest = satisfies(tree if leading is None else without(tree, leading))
    sample = sample_runs(is_led.label("is_led"))
    is_found = and_(sample.c.is_led, scope.condition(may_lead=False), rest)
    counts = (
        func.count(),
        func.max(sample.c.run_id),
        func.count().filter(sample.c.is_led),
        func.count().filter(is_found),
    )
    query = select(*counts).select_from(sample.join(runs, runs.c.run_id == sample.c.run_id))
    size, last_id, led, found = connection.execute(query).one()
    if not found:
        return _Likely(math.inf, 0, None, 0)
    # The share of all ids that lies between the first and the last of the sample holds that many of the runs. (Not of
    # ids that were made elsewhere, as imported ones may be.)
    is_known = size == SAMPLE and RUN_ID.fullmatch(last_id)
    share = (_place(last_id) - _place(SAMPLE_START) if is_known else 0) or math.inf
    return _Likely(page * SAMPLE / found, found / share, leading, led / share)


def _place(run_id: str) -> float:
    """Where an id lies among all there could be, from 0 to 1."""
    return int(run_id, 16) / 16.0 ** len(run_id)


def _reach(steps: float, few: int) -> int:
    """How many runs a walk looks at in its first query: half as many again as it probably needs."""
    return int(min(max(1.5 * steps, few // 5), 10 * few)) + 1


def _counts(connection: Connection, queries: Sequence[Ids], few: int) -> Sequence[int]:
    """How many each finds; nobody looks further than one beyond `few`."""
    counts = [select(func.count()).select_from(ids.limit(few + 1).subquery()).scalar_subquery() for ids in queries]
    return connection.execute(select(*counts)).one()
