"""Rollouts and traffic."""

from msgspec.structs import replace
from sqlalchemy import Connection

from lockgate.entities import Rollout, Traffic
from lockgate.errors import InvalidInput
from lockgate.metadata import admission, aliases, releases, rollouts, traffic
from lockgate.metadata.limits import REASON_LENGTH, cut_text, require_limit
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import approver, viewer
from lockgate.server.subjects import of_model, of_move, of_rollout, of_rollout_id
from lockgate.wire import delivery as wire
from lockgate.wire.operation import Empty


def create_rollout(ctx: Context, request: wire.CreateRollout) -> wire.RolloutMessage:
    """Raises GateFailed or PermissionDenied where the environment may not take the version."""
    rollout = replace(request.rollout, created_by=ctx.caller.author(request.rollout.created_by))
    with ctx.write() as tx:
        admission.require_rollout_admitted(tx.connection, rollout)
        created = rollouts.create_rollout(tx, rollout, supersede=request.supersede)
        return wire.RolloutMessage(rollout=created)


def get_rollout(ctx: Context, request: wire.OneRollout) -> wire.RolloutMessage:
    with ctx.read() as connection:
        return wire.RolloutMessage(rollout=rollouts.get_rollout(connection, request.rollout_id))


def current_rollout(ctx: Context, request: wire.OneEnvironment) -> wire.FoundRollout:
    with ctx.read() as connection:
        found = rollouts.current_rollout(connection, request.model, request.environment)
        return wire.FoundRollout(rollout=found)


def list_rollouts(ctx: Context, request: wire.ListRollouts) -> wire.RolloutList:
    with ctx.read() as connection:
        limit = require_limit(request.limit)
        found = rollouts.list_rollouts(connection, request.model, request.environment, limit=limit)
        return wire.RolloutList(rollouts=found)


def advance_rollout(ctx: Context, request: wire.AdvanceRollout) -> wire.RolloutMessage:
    """The move, its traffic and its aliases: all of it or nothing."""
    transition = replace(request.transition, by=ctx.caller.author(request.transition.by))
    with ctx.write() as tx:
        moved = rollouts.advance_rollout(tx, request.rollout, transition)
        if request.traffic is not None:
            _require_of_rollout(tx.connection, request.traffic, moved)
            traffic.set_traffic(tx, request.traffic)
        why = "; ".join(dict.fromkeys(filter(None, (moved.begun_because, moved.reason))))
        said = f"rollout {moved.rollout_id} in {moved.environment}: {moved.state}: {why}"
        reason = cut_text(said, REASON_LENGTH, "reason")  # a target may say why at any length
        for alias, version in request.aliases.items():
            if version != moved.version:  # which alone was admitted, when the rollout began
                raise InvalidInput(f"a rollout of version {moved.version} cannot point {alias!r} at version {version}.")
            admission.require_alias_follows(tx.connection, moved, alias)
            aliases.set_alias(tx, moved.model, alias, version, reason=reason)
        for alias, version in request.withdrawn.items():
            # Whoever set it anew meanwhile meant another version.
            if aliases.find_alias(tx.connection, moved.model, alias) == version:
                aliases.delete_alias(tx, moved.model, alias, reason=reason)
        return wire.RolloutMessage(rollout=moved)


def list_transitions(ctx: Context, request: wire.OneRollout) -> wire.TransitionList:
    with ctx.read() as connection:
        return wire.TransitionList(transitions=rollouts.list_transitions(connection, request.rollout_id))


def get_traffic(ctx: Context, request: wire.OneEnvironment) -> wire.FoundTraffic:
    with ctx.read() as connection:
        return wire.FoundTraffic(traffic=traffic.get_traffic(connection, request.model, request.environment))


def list_traffic(ctx: Context, request: Empty) -> wire.TrafficList:
    with ctx.read() as connection:
        return wire.TrafficList(traffic=traffic.list_traffic(connection))


def _require_of_rollout(connection: Connection, split: Traffic, moved: Rollout) -> None:
    """Only what was admitted when the rollout began, or served before, gets traffic, and with its own content."""
    if (split.model, split.environment) != (moved.model, moved.environment):
        raise InvalidInput(
            f"a rollout of {moved.model} in {moved.environment} cannot change the traffic of "
            f"{split.model} in {split.environment}."
        )
    for share in split.shares:
        if share.version not in (moved.version, moved.baseline_version):
            raise InvalidInput(f"a rollout of version {moved.version} cannot send traffic to version {share.version}.")
        content = releases.get_release(connection, moved.model, share.version).content
        if share.digest != content.digest:
            raise InvalidInput(f"{moved.model}@{share.version} has the content {content.digest}, not {share.digest}.")


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.CREATE_ROLLOUT, create_rollout, approver(of_rollout)),
    Route(wire.GET_ROLLOUT, get_rollout, viewer(of_rollout_id)),
    Route(wire.CURRENT_ROLLOUT, current_rollout, viewer(of_model)),
    Route(wire.LIST_ROLLOUTS, list_rollouts, viewer(of_model)),
    Route(wire.ADVANCE_ROLLOUT, advance_rollout, approver(of_move)),
    Route(wire.LIST_TRANSITIONS, list_transitions, viewer(of_rollout_id)),
    Route(wire.GET_TRAFFIC, get_traffic, viewer(of_model)),
    Route(wire.LIST_TRAFFIC, list_traffic, viewer()),
)
