"""Back to what was good: an unfinished rollout is turned around, a finished one is followed by a rollback.

Nothing is asked and nothing is judged on the way, and replicas still hold the version before: traffic has moved when
this returns, and replicas follow within their polling interval.
"""

from typing import TYPE_CHECKING

from lockgate.clock import Clock
from lockgate.delivery.advance import advance, turn_around
from lockgate.delivery.history import versions_served
from lockgate.delivery.rollout import is_finished
from lockgate.delivery.targets.target import Target
from lockgate.entities import Rollout
from lockgate.errors import NotFound
from lockgate.ids import new_sortable_id

if TYPE_CHECKING:
    from lockgate.client.client import Client

# pending, progressing, baking, succeeded: a rollback that waits for replicas is finished by the next driver.
_MOVES = 4


def rollback(
    client: "Client",
    target: Target,
    *,
    model: str,
    environment: str,
    by: str,
    reason: str,
    clock: Clock,
    production: str | None,
) -> Rollout:
    """The rollout that was turned around, or a new one with strategy `rollback`; its traffic is published.

    Raises NotFound where the environment has no good version to return to.
    """
    unfinished = client.delivery.current_rollout(model, environment)
    if unfinished is not None and unfinished.strategy != "rollback":
        turned = turn_around(client, target, unfinished, now=clock.now_ms(), by=by, reason=reason)
        return advance(client, target, turned, clock.now_ms(), by, production=production)
    if unfinished is None:
        unfinished = client.delivery.create_rollout(
            _plan(client, model=model, environment=environment, by=by, reason=reason, now=clock.now_ms())
        )
    for _ in range(_MOVES):
        before = unfinished
        unfinished = advance(client, target, unfinished, clock.now_ms(), by, production=production)
        if is_finished(unfinished) or unfinished.revision == before.revision:
            break
    return unfinished


def _plan(client: "Client", *, model: str, environment: str, by: str, reason: str, now: int) -> Rollout:
    served = versions_served(client, model, environment)
    if len(served) < 2:
        now_served = f"version {served[0]} is the first it served" if served else "it has served nothing yet"
        raise NotFound(
            f"{environment} has no earlier version of {model} to return to: {now_served}.",
            hint=f"lockgate deploy {model}@VERSION --to {environment}",
        )
    return Rollout(
        rollout_id=new_sortable_id(),
        model=model,
        environment=environment,
        version=served[-2],
        baseline_version=served[-1],
        strategy="rollback",
        steps=(100,),
        bake_s=0.0,
        false_rollback_rate=0.01,
        state="pending",
        step=-1,
        revision=0,
        created_at=now,
        created_by=by,
        updated_at=now,
        reason=reason,
        begun_because=reason,
    )
