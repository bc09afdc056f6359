"""The installation's history, in the order it was written."""

from lockgate.entities import Event
from lockgate.wire.operation import Message, own


class ListEvents(Message, frozen=True, kw_only=True):
    """Events with a sequence above `after`, oldest first."""

    after: int = 0
    limit: int = 100


class EventList(Message, frozen=True, kw_only=True):
    events: tuple[Event, ...] = ()


LIST_EVENTS = own("events", "list_events", ListEvents, EventList, method="GET")
