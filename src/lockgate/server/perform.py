"""Carrying out an operation, over HTTP and in this process alike: rights, then the handler; what fails is audited.

What succeeds is audited where it is written, in the same transaction (`Context.write`). What is refused or fails has
no transaction left and gets one of its own. Reads are not audited; files are, by `files.begin_upload`.
"""

import logging
from typing import Any

from msgspec.structs import replace

from lockgate.errors import DataDamaged, LockgateError, PermissionDenied
from lockgate.metadata.database import repeat_when_raced
from lockgate.metadata.modes import Raced, WouldWait
from lockgate.metadata.moment import Moment
from lockgate.server.act import Act
from lockgate.server.answer import answer_struct
from lockgate.server.context import AnyRoute, Context
from lockgate.server.needs import require

log = logging.getLogger("lockgate.server")


def perform(route: AnyRoute, ctx: Context, request: Any) -> Any:  # the table holds routes of every pair of types
    """The handler's answer. Raises PermissionDenied, and what the handler raises."""
    act = Act(route.operation.name, route.need, request)
    try:
        doing = ctx.doing(act)
        require(route.need, ctx.caller, ctx.database, ctx.recent, request)
        return repeat_when_raced(lambda: route.handler(doing, request))
    except Exception as error:
        if act.is_decision or (isinstance(error, PermissionDenied) and route.need.role != "viewer"):
            audit_failure(ctx, act, error)
        raise


def answer_in_json(route: AnyRoute, ctx: Context, request: Any) -> bytes:
    """The same for who is not in this process."""
    return answer_struct(perform(route, replace(ctx, answers_in_json=True), request))


def perform_briefly(route: AnyRoute, ctx: Context, request: Any, moment: Moment) -> Any:
    """`perform` of a brief operation, for who must not wait, the event loop.

    Raises WouldWait: then `perform` it, or do this again when what the moment has asked is over.
    """
    doing = ctx.doing(Act(route.operation.name, route.need, request), moment=moment)
    try:
        if not doing.has_asked:  # or the right to it was found then
            require(route.need, ctx.caller, ctx.database, ctx.recent, request, may_wait=False)
        return route.handler(doing, request)
    except (PermissionDenied, Raced) as error:
        raise WouldWait("a refusal is audited, which is a decision, and a race is run again.") from error


def audit_failure(ctx: Context, act: Act, error: Exception) -> None:
    """Tell the audit that `act` came to nothing, in a transaction of its own."""
    if isinstance(error, DataDamaged) or (isinstance(error, LockgateError) and error.retry_helps):
        return  # the database itself is in trouble, and nothing was decided
    outcome = error.code if isinstance(error, LockgateError) else LockgateError.code
    try:
        with ctx.database.write(at=ctx.clock.now_ms, by=ctx.user) as tx:
            ctx.audit(tx, act, subject=act.subject(tx.connection), outcome=outcome, details=act.details())
    except LockgateError:
        log.exception("%s by %s ended with %s, which could not be audited", act.operation, ctx.user, outcome)
