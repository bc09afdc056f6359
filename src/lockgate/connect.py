"""The composition root: settings -> a client, over HTTP where a server is configured, in this process otherwise."""

from pathlib import Path

from lockgate.client.client import Client
from lockgate.clock import Clock
from lockgate.config import Settings


def connect(settings: Settings, *, state: Path, user: str, clock: Clock) -> Client:
    """A client for the records in `state`, or of the server at `settings.uri`.

    Raises InvalidInput for an address that is none, and Conflict (next: `lockgate migrate`) where the database in
    `state` was written by another version. A server that does not answer is found out at the first call.
    """
    if settings.uri:
        from lockgate.client.http import HttpTransport

        return Client(HttpTransport(settings.uri, user=user), clock)
    from lockgate.server.context import open_context
    from lockgate.server.local import LocalTransport

    return Client(LocalTransport(open_context(state, user=user, clock=clock)), clock)
