"""Endpoints that are no operation, files and pages, behind the same rights as operations."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from lockgate.server.context import Context
from lockgate.server.needs import Need, require

# Where the scope of a request holds the installation as its caller sees it (a `Context`).
ADMITTED = "lockgate.context"


class Guarded:
    """An application that is called only with the rights that it needs: `read` for GET and HEAD, `write` otherwise."""

    def __init__(self, application: ASGIApp, *, read: Need, write: Need) -> None:
        self._application = application
        self._read = read
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        need = self._read if scope["method"] in ("GET", "HEAD") else self._write
        context = admitted(scope)
        if context.caller.rights is not None:
            await asyncio.to_thread(require_for, need, context, scope["path_params"])
        await self._application(scope, receive, send)


def admitted(scope: Scope) -> Context:
    """The installation as whoever asks sees it."""
    context = scope[ADMITTED]
    assert isinstance(context, Context)
    return context


def require_for(need: Need, context: Context, path_params: dict[str, Any]) -> None:
    """Raises PermissionDenied."""
    require(need, context.caller, context.database, context.recent, path_params)
