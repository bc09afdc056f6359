"""Runs in the order of a metric, param or tag, along the index of its values.

What has a value is followed by NaN, and this by what has none. Where runs have the same value, these are again in the
order of time: a few are read and sorted; of many, a walk along all runs, newest first, soon fills a page.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    false,
    func,
    literal_column,
    not_,
    select,
    true,
)

from lockgate.metadata.driver import prefer_walks
from lockgate.metadata.filters import Filter, Order
from lockgate.metadata.pages import Key, Sort, Stretch, place_in
from lockgate.metadata.run_filter import TABLES, Scope, by_value, is_said, order_column, satisfies
from lockgate.metadata.run_order import in_order, require_orderable, text_sorts
from lockgate.metadata.run_sample import share_of
from lockgate.metadata.tables import is_whole, runs

_COMMON = 0.05  # what so many runs have is not counted: two thousand steps fill a page


class ValueOrder:
    """The runs that satisfy a filter, by a first order that is a metric, param or tag, and by the rest of the orders.

    Up to `few` runs with the same value are read and sorted. Raises InvalidInput for an order that cannot be.
    """

    def __init__(
        self, connection: Connection, scope: Scope, tree: Filter, orders: Sequence[Order], *, few: int
    ) -> None:
        first, self._rest = orders[0], orders[1:]
        require_orderable(first)
        self._connection, self._scope, self._few = connection, scope, few
        (self._entity, self._key), ascending = first
        t = self._t = TABLES[self._entity].alias("first")
        self._is_metric = self._entity == "metric"
        self._of_key = t.c.key == self._key
        self._has_value = and_(self._of_key, t.c.is_nan == false()) if self._is_metric else self._of_key
        self._sorts = [Sort(t.c.value, ascending, float)] if self._is_metric else text_sorts(t.c.value, ascending)
        # No index holds this expression, so a planner with statistics cannot start at the runs and sort them all.
        run_id = t.c.run_id.concat(literal_column("''"))
        passing = and_(scope.condition(may_lead=False), satisfies(tree, t.c.run_id))
        self._along_values = select(runs.c.run_id).select_from(t.join(runs, runs.c.run_id == run_id)).where(passing)
        self._newest = select(runs.c.run_id).where(scope.condition(may_lead=True))
        self._passes = satisfies(tree)

    def stretches(self, *, after: Key | None, reach: int) -> Iterator[Stretch]:
        """Nothing is read for a stretch before the one of `after`, nor for one that the page does not reach.

        The first query of a value reaches over `reach` rows of its index.
        """
        place = () if after is None else place_in(self._sorted(self._has_value), after)
        if place is not None:
            for part, value in _parts(self._connection, self._has_value, self._sorts[0], place, reach):
                if value is None:
                    yield self._sorted(part)
                elif is_whole(self._connection, value):
                    yield from self._of_one_value(part, (0, *[value] * len(self._sorts)))
                else:  # only what is indexed of it is the same
                    yield from self._gathered(self._sorted(part))
        if self._is_metric:
            yield from self._of_one_value(and_(self._of_key, self._t.c.is_nan == true()), (1, 0.0))
        lacks = not_(exists().where(is_said(self._t, self._key, runs.c.run_id)))
        yield in_order(
            self._newest.where(self._passes, lacks), self._rest, first=(2, 0.0) if self._is_metric else (1, "", "")
        )

    def _sorted(self, part: ColumnElement[bool]) -> Stretch:
        return in_order(self._along_values.where(part), self._rest, leading=self._sorts, first=(0,))

    def _of_one_value(self, part: ColumnElement[bool], first: Key) -> Iterator[Stretch]:
        """Those of a part whose runs all have the same, `first` of their sort keys."""
        rest = self._rest
        is_by_time = not rest or (rest[0].name.is_attribute and order_column(rest[0]) is runs.c.start_time)
        if is_by_time and self._are_many(part):
            yield in_order(self._newest.where(self._has(part), self._passes), rest, first=first)
        else:
            yield from self._gathered(in_order(self._along_values.where(part), rest, first=first))

    def _are_many(self, part: ColumnElement[bool]) -> bool:
        if share_of(self._connection, self._scope, self._has(part)) >= _COMMON:
            return True
        one_more = select(self._t.c.run_id).where(part).offset(self._few).limit(1)
        return self._connection.scalar(one_more) is not None

    def _has(self, part: ColumnElement[bool]) -> ColumnElement[bool]:
        """Whether a row of `runs` has a value of the part."""
        # The part is what is asked of the row, and no way to it: PostgreSQL without statistics would take it for one.
        said = select(part).where(is_said(self._t, self._key, runs.c.run_id))
        if self._scope.is_sqlite:
            said = by_value(said.where(part), self._t, self._entity)
        return func.coalesce(said.scalar_subquery(), false())

    def _gathered(self, stretch: Stretch) -> Iterator[Stretch]:
        """Rows that no index has in their order: PostgreSQL, kept from sorting, would look for each run in all others.

        Whoever asks for the next stretch has read this one.
        """
        prefer_walks(self._connection, may_sort=True)
        yield stretch
        prefer_walks(self._connection)


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
