"""Rollouts, their transitions, and traffic."""

from collections.abc import Mapping

from lockgate.client.transport import Transport
from lockgate.entities import Rollout, RolloutTransition, Traffic
from lockgate.wire import delivery as wire
from lockgate.wire.operation import Empty


class Delivery:
    """Rollouts, their transitions and what an environment shall serve."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create_rollout(self, rollout: Rollout, *, supersede: bool = False) -> Rollout:
        """Raises Conflict where another rollout of the environment is unfinished.

        Raises GateFailed naming the gates that refused the version, PermissionDenied where approvals are missing.

        With `supersede` that one is marked superseded in the same transaction, unless it is rolling back.
        """
        request = wire.CreateRollout(rollout=rollout, supersede=supersede)
        return self._transport.call(wire.CREATE_ROLLOUT, request).rollout

    def get_rollout(self, rollout_id: str) -> Rollout:
        """Raises NotFound."""
        return self._transport.call(wire.GET_ROLLOUT, wire.OneRollout(rollout_id=rollout_id)).rollout

    def current_rollout(self, model: str, environment: str) -> Rollout | None:
        """The unfinished rollout of an environment."""
        request = wire.OneEnvironment(model=model, environment=environment)
        return self._transport.call(wire.CURRENT_ROLLOUT, request).rollout

    def list_rollouts(self, model: str, environment: str | None = None, limit: int = 20) -> list[Rollout]:
        """Newest first."""
        request = wire.ListRollouts(model=model, environment=environment, limit=limit)
        return list(self._transport.call(wire.LIST_ROLLOUTS, request).rollouts)

    def advance_rollout(
        self,
        rollout: Rollout,
        transition: RolloutTransition,
        *,
        traffic: Traffic | None,
        aliases: Mapping[str, int] | None = None,
        withdrawn: Mapping[str, int] | None = None,
    ) -> Rollout:
        """Write one move with its traffic and aliases in one transaction.

        `aliases` are set; `withdrawn` are removed where they still point at the version named.

        Raises Conflict where the stored revision is not `transition.revision - 1`, the move is illegal, or the
        environment's traffic has a revision that is not below the new one.
        """
        request = wire.AdvanceRollout(
            rollout=rollout,
            transition=transition,
            traffic=traffic,
            aliases=dict(aliases or {}),
            withdrawn=dict(withdrawn or {}),
        )
        return self._transport.call(wire.ADVANCE_ROLLOUT, request).rollout

    def list_transitions(self, rollout_id: str) -> list[RolloutTransition]:
        """In order."""
        return list(self._transport.call(wire.LIST_TRANSITIONS, wire.OneRollout(rollout_id=rollout_id)).transitions)

    def get_traffic(self, model: str, environment: str) -> Traffic | None:
        """What the environment's replicas must serve; None before the first rollout."""
        request = wire.OneEnvironment(model=model, environment=environment)
        return self._transport.call(wire.GET_TRAFFIC, request).traffic

    def list_traffic(self) -> list[Traffic]:
        """Of every model and environment."""
        return list(self._transport.call(wire.LIST_TRAFFIC, Empty()).traffic)
