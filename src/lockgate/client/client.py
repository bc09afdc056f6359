"""One object for everything a program asks of Lockgate's records."""

from types import TracebackType

from lockgate.client.access import Access
from lockgate.client.delivery import Delivery
from lockgate.client.events import Events
from lockgate.client.monitoring import Monitoring
from lockgate.client.registry import Registry
from lockgate.client.tracking import Tracking
from lockgate.client.transport import Transport
from lockgate.client.webhooks import Webhooks
from lockgate.clock import Clock


class Client:
    """Groups by subject; safe to share between threads."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self.transport = transport
        self.tracking = Tracking(transport, clock)
        self.registry = Registry(transport)
        self.delivery = Delivery(transport)
        self.monitoring = Monitoring(transport)
        self.events = Events(transport)
        self.webhooks = Webhooks(transport)
        self.access = Access(transport)

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
