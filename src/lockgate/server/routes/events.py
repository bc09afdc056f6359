"""The history of the installation."""

from lockgate.metadata import events
from lockgate.metadata.limits import require_limit
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import viewer
from lockgate.wire import events as wire


def list_events(ctx: Context, request: wire.ListEvents) -> wire.EventList:
    with ctx.read() as connection:
        found = events.list_events(connection, after=request.after, limit=require_limit(request.limit))
        return wire.EventList(events=found)


ROUTES: tuple[AnyRoute, ...] = (Route(wire.LIST_EVENTS, list_events, viewer()),)
