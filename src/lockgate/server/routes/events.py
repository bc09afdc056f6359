"""The history of the installation."""

from lockgate.metadata import events
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import viewer
from lockgate.wire import events as wire


def list_events(ctx: Context, request: wire.ListEvents) -> wire.EventList:
    with ctx.read() as connection:
        return wire.EventList(events=events.list_events(connection, after=request.after, limit=request.limit))


ROUTES: tuple[AnyRoute, ...] = (Route(wire.LIST_EVENTS, list_events, viewer()),)
