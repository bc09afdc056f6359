"""Who asks, for what is no operation: files and pages, behind the same rights as operations."""

from starlette.types import Scope

from lockgate.server.context import Context
from lockgate.server.needs import Need, require

# Where the scope of a request holds the installation as its caller sees it (a `Context`).
ADMITTED = "lockgate.context"


def admitted(scope: Scope) -> Context:
    """The installation as whoever asks sees it."""
    context = scope[ADMITTED]
    assert isinstance(context, Context)
    return context


def require_for(need: Need, context: Context, request: object) -> None:
    """Raises PermissionDenied."""
    require(need, context.caller, context.database, context.recent, request)
