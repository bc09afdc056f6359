"""Rollouts, their transitions, and the traffic split of an environment."""

from msgspec import field

from lockgate.entities import Rollout, RolloutTransition, Traffic
from lockgate.wire.operation import Empty, Message, own


class CreateRollout(Message, frozen=True, kw_only=True):
    """`supersede` marks an unfinished rollout of the environment superseded in the same transaction."""

    rollout: Rollout
    supersede: bool = False


class RolloutMessage(Message, frozen=True, kw_only=True):
    rollout: Rollout


class OneRollout(Message, frozen=True, kw_only=True):
    rollout_id: str


class OneEnvironment(Message, frozen=True, kw_only=True):
    model: str
    environment: str


class FoundRollout(Message, frozen=True, kw_only=True):
    rollout: Rollout | None = None


class ListRollouts(Message, frozen=True, kw_only=True):
    model: str
    environment: str | None = None
    limit: int = 20


class RolloutList(Message, frozen=True, kw_only=True):
    rollouts: tuple[Rollout, ...] = ()


class AdvanceRollout(Message, frozen=True, kw_only=True):
    """One decision: the rollout's new value, why, the traffic it means and the aliases it moves.

    `withdrawn` are aliases that a version loses: each is removed where it still points at that version.
    """

    rollout: Rollout
    transition: RolloutTransition
    traffic: Traffic | None = None
    aliases: dict[str, int] = field(default_factory=dict)
    withdrawn: dict[str, int] = field(default_factory=dict)


class TransitionList(Message, frozen=True, kw_only=True):
    transitions: tuple[RolloutTransition, ...] = ()


class FoundTraffic(Message, frozen=True, kw_only=True):
    traffic: Traffic | None = None


class TrafficList(Message, frozen=True, kw_only=True):
    traffic: tuple[Traffic, ...] = ()


CREATE_ROLLOUT = own("delivery", "create_rollout", CreateRollout, RolloutMessage)
GET_ROLLOUT = own("delivery", "get_rollout", OneRollout, RolloutMessage, method="GET")
CURRENT_ROLLOUT = own("delivery", "current_rollout", OneEnvironment, FoundRollout, method="GET")
LIST_ROLLOUTS = own("delivery", "list_rollouts", ListRollouts, RolloutList, method="GET")
ADVANCE_ROLLOUT = own("delivery", "advance_rollout", AdvanceRollout, RolloutMessage)
LIST_TRANSITIONS = own("delivery", "list_transitions", OneRollout, TransitionList, method="GET")
GET_TRAFFIC = own("delivery", "get_traffic", OneEnvironment, FoundTraffic, method="GET")
LIST_TRAFFIC = own("delivery", "list_traffic", Empty, TrafficList, method="GET")
