"""Values of metrics in columns, from our own client."""

from collections.abc import Iterator
from itertools import chain, repeat

from lockgate.errors import InvalidInput
from lockgate.metadata import points
from lockgate.metadata.limits import require_run_id
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import contributor
from lockgate.server.subjects import of_run
from lockgate.wire import series as wire
from lockgate.wire.mlflow.runs import number_in
from lockgate.wire.operation import Empty


def log_series(ctx: Context, request: wire.LogSeries) -> Empty:
    """All of it or nothing."""
    require_run_id(request.id)
    count = sum(len(item.values) for item in request.series)
    if count > wire.VALUES_A_REQUEST:
        raise InvalidInput(f"a request takes {wire.VALUES_A_REQUEST} values, this one has {count}.", hint="split it")
    received = [_points(item) for item in request.series]
    with ctx.write(decision=False, is_single=True) as tx:
        points.log_points(tx, request.id, chain.from_iterable(received))
    return Empty()


def _points(item: wire.Series) -> Iterator[tuple[str, float, int, int]]:
    if not len(item.values) == len(item.timestamps) == len(item.steps):
        raise InvalidInput(f"the columns of the metric {item.key!r} have different lengths.")
    values = [value if type(value) is float else number_in(value, item.key) for value in item.values]
    return zip(repeat(item.key), values, item.timestamps, item.steps)  # the key repeats for ever


ROUTES: tuple[AnyRoute, ...] = (Route(wire.LOG_SERIES, log_series, contributor(of_run)),)
