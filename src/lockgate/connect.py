"""The composition root: settings -> a client, over HTTP where a server is configured, in this process otherwise."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lockgate.client.client import Client
from lockgate.clock import Clock
from lockgate.config import Settings, read_token


def connect(
    settings: Settings, *, state: Path, user: str, clock: Clock, environ: Mapping[str, str] = os.environ
) -> Client:
    """A client for the records in `state`, or of the server at `settings.uri`, with the token that `token` points at.

    A user and a password in the address count before a token, as with MLflow's client.

    Raises InvalidInput for an address that is none, Conflict (next: `lockgate migrate`) where the database was written
    by another version, Unavailable where it is a PostgreSQL that lets nobody in. A Lockgate server that does not answer
    is found out at the first call.
    """
    if settings.uri:
        from lockgate.client.http import HttpTransport
        from lockgate.client.trust import read_trust

        uri, own_user, password = split_uri(settings.uri)
        token = "" if password else partial(read_token, settings.token, environ=environ)
        tls = read_trust(environ) if uri.lower().startswith("https:") else None
        return Client(HttpTransport(uri, user=own_user or user, token=token, password=password, tls=tls), clock)
    from lockgate.server.context import open_installation
    from lockgate.server.local import LocalTransport

    context = open_installation(state, settings=settings, user=user, clock=clock, environ=environ)
    return Client(LocalTransport(context), clock)


def split_uri(uri: str) -> tuple[str, str, str]:
    """(address, user, password): only the address may be written down or shown. Raises InvalidInput."""
    from lockgate.exchange.address import split_login

    return split_login(uri) if "@" in uri else (uri, "", "")
