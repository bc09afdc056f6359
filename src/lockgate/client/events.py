"""The history of an installation."""

from lockgate.client.transport import Transport
from lockgate.entities import Event
from lockgate.wire import events as wire


class Events:
    """The history of the installation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list_events(self, after: int = 0, limit: int = 100) -> list[Event]:
        """Events with a sequence above `after`, oldest first."""
        return list(self._transport.call(wire.LIST_EVENTS, wire.ListEvents(after=after, limit=limit)).events)
