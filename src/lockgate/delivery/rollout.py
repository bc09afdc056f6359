"""A rollout as a state machine.

    pending -> progressing -> baking -> succeeded
                    ^            |
                    +--next step-+          superseded  <- pending, progressing, baking (a newer rollout)
                                            rolling_back <- pending, progressing, baking -> rolled_back

`progressing` waits for the replicas to serve the step's share, `baking` watches them serve it. The table of legal
moves is `entities.LEGAL_MOVES`; it is checked here where a transition is made and again where it is stored.
Everything here is pure: values in, values out.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from lockgate.entities import (
    LEGAL_MOVES,
    Observation,
    Rollout,
    RolloutState,
    RolloutTransition,
    Scalar,
    Traffic,
    TrafficShare,
)
from lockgate.errors import Conflict


class Situation(NamedTuple):
    """What a strategy decides on: the traffic that was last decided, what replicas said last, and the time."""

    traffic: Traffic | None
    observations: tuple[Observation, ...]
    now: int


class Decision(NamedTuple):
    """Where a rollout goes next and why. The same state and step means: stay, for this reason.

    `baseline` is what the version before had counted until now, requests and errors, for a strategy that will need it
    when that version serves no longer.
    """

    state: RolloutState
    step: int
    reason: str
    evidence: Mapping[str, Scalar] = {}
    baseline: tuple[int, int] | None = None


def is_finished(rollout: Rollout) -> bool:
    return not LEGAL_MOVES[rollout.state]


def is_move(rollout: Rollout, decision: Decision) -> bool:
    return (decision.state, decision.step) != (rollout.state, rollout.step)


def move(rollout: Rollout, decision: Decision, *, now: int, by: str) -> tuple[Rollout, RolloutTransition]:
    """The rollout after the decision, and the row that records it. Raises Conflict for an illegal move."""
    if decision.state not in LEGAL_MOVES[rollout.state]:
        raise Conflict(
            f"rollout {rollout.rollout_id} is {rollout.state}: it cannot become {decision.state}; "
            f"it can become: {', '.join(sorted(LEGAL_MOVES[rollout.state])) or 'nothing, it is finished'}."
        )
    reason = decision.reason
    if decision.state == "rolling_back" and rollout.baseline_version is None:
        stays = "has no earlier version to go back to, so this one stays until another is deployed."
        reason = f"{reason.rstrip('.')}; {rollout.environment} {stays}"
    transition = RolloutTransition(
        rollout_id=rollout.rollout_id,
        revision=rollout.revision + 1,
        from_state=rollout.state,
        to_state=decision.state,
        step=decision.step,
        at=now,
        by=by,
        reason=reason,
        evidence=dict(decision.evidence),
    )
    requests, errors = decision.baseline or (rollout.baseline_requests, rollout.baseline_errors)
    moved = msgspec.structs.replace(
        rollout,
        state=decision.state,
        step=decision.step,
        revision=transition.revision,
        updated_at=now,
        reason=reason,
        baseline_requests=requests,
        baseline_errors=errors,
    )
    return moved, transition


def traffic_after(rollout: Rollout, *, digests: Mapping[int, str], before: Traffic | None, now: int) -> Traffic | None:
    """What the environment must serve in the rollout's state; None where that is what it serves already.

    `digests` gives the content of the rollout's version and of its baseline.
    """
    shares = _shares(rollout, digests)
    if shares is None or (before is not None and before.shares == shares and before.rollout_id == rollout.rollout_id):
        return None
    return Traffic(
        model=rollout.model,
        environment=rollout.environment,
        revision=before.revision + 1 if before else 1,
        shares=shares,
        changed_at=now,
        rollout_id=rollout.rollout_id,
    )


def _shares(rollout: Rollout, digests: Mapping[int, str]) -> tuple[TrafficShare, ...] | None:
    version, baseline = rollout.version, rollout.baseline_version
    if rollout.state in ("pending", "superseded"):
        return None
    if rollout.state in ("rolling_back", "rolled_back"):
        # The first version of an environment has nothing to return to; the next rollout replaces it.
        return None if baseline is None else (TrafficShare(version=baseline, digest=digests[baseline], share=1.0),)
    if rollout.state == "succeeded":
        return (TrafficShare(version=version, digest=digests[version], share=1.0),)
    share = 1.0 if baseline is None else rollout.steps[rollout.step] / 100
    new = TrafficShare(version=version, digest=digests[version], share=share, role="canary")
    if baseline is None or share == 1.0:
        return (new,)
    return (TrafficShare(version=baseline, digest=digests[baseline], share=1.0 - share), new)


def last_good(history: tuple[Rollout, ...]) -> tuple[int, ...]:
    """The versions that an environment fully served and could return to, the present one last.

    `history` is in the order of creation. A rollback takes away what it returned from, so that two rollbacks in a row
    go two versions back and never to a version that was left because it was bad.
    """
    stack: list[int] = []
    for rollout in history:
        if rollout.state != "succeeded":
            continue
        if rollout.strategy == "rollback" and rollout.version in stack:
            while stack[-1] != rollout.version:
                stack.pop()
        elif not stack or stack[-1] != rollout.version:
            stack.append(rollout.version)
    return tuple(stack)
