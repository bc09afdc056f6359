"""What a record may name: only what is its author's to read."""

from lockgate.errors import PermissionDenied
from lockgate.metadata import releases, windows
from lockgate.server.context import Context


def require_own(ctx: Context, *digests: str | None) -> None:
    """Who sees a release or a window is shown what it names: nobody gets at what is hidden by naming it as their own.

    Raises PermissionDenied for a digest that only records of hidden models name. To be asked before a transaction that
    writes, because it reads all records.
    """
    if ctx.caller.seen is None:
        return
    with ctx.read() as connection:
        for digest in filter(None, digests):
            known = {*releases.models_naming(connection, digest), *windows.models_naming(connection, digest)}
            if known and not any(map(ctx.caller.sees, known)):
                raise PermissionDenied(
                    f"{ctx.user!r} may not name {digest}: it belongs to models that they do not see.",
                    hint="an admin gives the role viewer on them, or records this",
                )
