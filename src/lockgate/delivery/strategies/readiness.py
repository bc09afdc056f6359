"""Whether the replicas of an environment serve what they were told to: the part that all strategies share.

A replica says itself that a version does not load. Where the version kills the replica before it can say so, whoever
keeps the replica running says it in its place (`server/replicas.py`).
"""

from typing import NamedTuple

from lockgate.delivery.rollout import Decision, Situation
from lockgate.entities import Observation, Rollout

# A live replica writes every second; ten without a word mean that it is gone.
FRESH_MS = 10_000
# A model that takes longer to load will not come.
LOADING_LIMIT_MS = 600_000


class Readiness(NamedTuple):
    """`trouble` is the reason to roll back at once; no statistics are asked, because a sound model never gives it."""

    is_ready: bool
    live: int
    trouble: str | None
    waiting_for: str


def readiness(rollout: Rollout, situation: Situation) -> Readiness:
    """Where the replicas are on the way to `situation.traffic`."""
    revision = situation.traffic.revision if situation.traffic else 0
    live = [seen for seen in situation.observations if situation.now - seen.observed_at <= FRESH_MS]
    behind = [seen.replica for seen in live if seen.revision < revision or not seen.ready]
    return Readiness(
        is_ready=bool(live) and not behind,
        live=len(live),
        trouble=_trouble(rollout, situation, live, revision),
        waiting_for=", ".join(behind) if behind else "the first replica",
    )


def _trouble(rollout: Rollout, situation: Situation, live: list[Observation], revision: int) -> str | None:
    for seen in live:
        if seen.revision == revision and not seen.ready:
            why = f": {seen.error}" if seen.error else "."
            return f"version {rollout.version} does not load on replica {seen.replica}{why}"
    if rollout.state == "progressing" and live and situation.now - rollout.updated_at > LOADING_LIMIT_MS:
        return f"version {rollout.version} was not loaded within {LOADING_LIMIT_MS // 1000} s."
    return None


def finish_rolling_back(rollout: Rollout, situation: Situation) -> Decision:
    """`rolling_back` ends when every live replica has taken the old traffic, or has had the time to."""
    revision = situation.traffic.revision if situation.traffic else 0
    live = [seen for seen in situation.observations if situation.now - seen.observed_at <= FRESH_MS]
    behind = [seen.replica for seen in live if seen.revision < revision]
    if behind and situation.now - rollout.updated_at <= FRESH_MS:
        return Decision("rolling_back", rollout.step, f"waiting for {', '.join(behind)} to return.")
    return Decision("rolled_back", rollout.step, rollout.reason)
