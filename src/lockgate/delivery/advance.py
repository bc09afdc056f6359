"""One look at a rollout and at most one move: read, observe, decide, write, publish.

Write before publish: the transition, the traffic and the aliases are one transaction; only then is the traffic handed
to the target. A driver that dies in between leaves replicas on the traffic before, and the next look publishes what was
decided, because publishing is repeated at its beginning and changes nothing where nothing is new. Any number of drivers
may look at the same rollout: the transaction lets one of them move it, the others see what it became.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from lockgate.clock import Clock
from lockgate.delivery.rollout import Decision, Situation, is_finished, is_move, move, traffic_after
from lockgate.delivery.strategies import canary, replace
from lockgate.delivery.targets.target import Target
from lockgate.entities import Alert, Rollout
from lockgate.errors import Conflict
from lockgate.ids import new_sortable_id

if TYPE_CHECKING:
    from lockgate.client.client import Client

_STRATEGIES: Mapping[str, Callable[[Rollout, Situation], Decision]] = {
    "replace": replace.decide,
    "canary": canary.decide,
    "rollback": replace.decide,
}
_TELL_EVERY_S = 5.0


def advance(
    client: "Client", target: Target, rollout: Rollout, now: int, by: str, *, production: str | None
) -> Rollout:
    """The rollout after one look. Where it stays, its `reason` says what it waits for (that reason is not stored).

    `production` is the environment whose version is the model's champion.
    """
    current = client.delivery.get_rollout(rollout.rollout_id)
    traffic = client.delivery.get_traffic(rollout.model, rollout.environment)
    if traffic is not None:
        target.apply(traffic)
    if is_finished(current):
        return current
    decision = _STRATEGIES[current.strategy](current, Situation(traffic, target.observe(), now))
    if not is_move(current, decision):
        return msgspec.structs.replace(current, reason=decision.reason)
    return _carry_out(client, target, current, decision, now=now, by=by, production=production)


def turn_around(client: "Client", target: Target, rollout: Rollout, *, now: int, by: str, reason: str) -> Rollout:
    """Send an unfinished rollout back because somebody said so. Raises Conflict where it is finished by now."""
    current = client.delivery.get_rollout(rollout.rollout_id)
    if current.state == "rolling_back":
        return current
    decision = Decision("rolling_back", current.step, reason)
    return _carry_out(client, target, current, decision, now=now, by=by, production=None)


def _carry_out(
    client: "Client", target: Target, rollout: Rollout, decision: Decision, *, now: int, by: str, production: str | None
) -> Rollout:
    moved, transition = move(rollout, decision, now=now, by=by)
    before = client.delivery.get_traffic(rollout.model, rollout.environment)
    after = traffic_after(moved, digests=_digests(client, moved), before=before, now=now)
    aliases = aliases_after(moved, production=production)
    withdrawn = withdrawn_after(moved, production=production)
    try:
        moved = client.delivery.advance_rollout(moved, transition, traffic=after, aliases=aliases, withdrawn=withdrawn)
    except Conflict:
        # Another driver was faster; what it decided stands.
        return client.delivery.get_rollout(rollout.rollout_id)
    if after is not None:
        target.apply(after)
    _tell(client, moved, now)
    return moved


def drive(
    client: "Client",
    target: Target,
    rollout: Rollout,
    *,
    clock: Clock,
    by: str,
    production: str | None,
    poll_s: float = 0.1,
    on_change: Callable[[Rollout], None] = lambda rollout: None,
) -> Rollout:
    """Look again and again until the rollout is finished.

    `on_change` hears every new state and step, and now and then what the rollout waits for.
    """
    tell = _seldom(on_change, clock)
    while True:
        rollout = advance(client, target, rollout, clock.now_ms(), by, production=production)
        tell(rollout)
        if is_finished(rollout):
            return rollout
        clock.sleep(poll_s)


def watch(
    client: "Client",
    target: Target,
    rollout: Rollout,
    *,
    clock: Clock,
    poll_s: float = 0.1,
    on_change: Callable[[Rollout], None] = lambda rollout: None,
) -> Rollout:
    """Wait while somebody else drives the rollout; what it ended as. `on_change` hears the same as with `drive`."""
    tell = _seldom(on_change, clock)
    told = -1
    while True:
        # The rollout last: as long as it is the one of before, so were the traffic and what replicas counted under it.
        observed = target.observe()
        situation = Situation(client.delivery.get_traffic(rollout.model, rollout.environment), observed, clock.now_ms())
        rollout = client.delivery.get_rollout(rollout.rollout_id)
        if rollout.revision != told:
            tell(rollout)
        elif not is_move(rollout, decision := _STRATEGIES[rollout.strategy](rollout, situation)):
            tell(msgspec.structs.replace(rollout, reason=decision.reason))
        told = rollout.revision
        if is_finished(rollout):
            return rollout
        clock.sleep(poll_s)


def _seldom(on_change: Callable[[Rollout], None], clock: Clock) -> Callable[[Rollout], None]:
    """Passes on every new state and step at once, and what a rollout waits for every `_TELL_EVERY_S`."""
    told: tuple[str, int] | None = None
    reason, told_at = "", 0.0

    def tell(rollout: Rollout) -> None:
        nonlocal told, reason, told_at
        moved, now = (rollout.state, rollout.step), clock.monotonic()
        if moved != told or (rollout.reason != reason and now >= told_at + _TELL_EVERY_S):
            told, reason, told_at = moved, rollout.reason, now
            on_change(rollout)

    return tell


def aliases_after(rollout: Rollout, *, production: str | None) -> dict[str, int]:
    """The aliases that follow a rollout's success: the environment's own and, from the last one, `champion`."""
    if rollout.state != "succeeded":
        return {}
    aliases = {rollout.environment: rollout.version}
    if rollout.environment == production:
        aliases["champion"] = rollout.version
    return aliases


def withdrawn_after(rollout: Rollout, *, production: str | None) -> dict[str, int]:
    """The challenger is the newest version that passed, is not the champion, and did not fail where it was served.

    So a version loses that alias when it becomes the champion, when its rollout was rolled back, and when somebody
    returns from it to the version before. Without it nothing deploys the version by itself.
    """
    if rollout.state == "rolled_back":
        return {"challenger": rollout.version}
    if rollout.state == "succeeded" and rollout.strategy == "rollback" and rollout.baseline_version is not None:
        return {"challenger": rollout.baseline_version}
    if rollout.state == "succeeded" and rollout.environment == production:
        return {"challenger": rollout.version}
    return {}


def _digests(client: "Client", rollout: Rollout) -> dict[int, str]:
    versions = [rollout.version] if rollout.baseline_version is None else [rollout.version, rollout.baseline_version]
    return {version: client.registry.get_release(rollout.model, version).content.digest for version in versions}


def _tell(client: "Client", rollout: Rollout, now: int) -> None:
    """What others must know of a finished rollout. Each part may be repeated, none is needed for correctness."""
    name = f"{rollout.model} version {rollout.version}"
    if rollout.state == "rolled_back":
        alert = Alert(
            alert_id=new_sortable_id(),
            model=rollout.model,
            environment=rollout.environment,
            kind="rollback",
            summary=f"{name} was rolled back in {rollout.environment}: {rollout.reason}",
            opened_at=now,
        )
        client.monitoring.open_alert(alert)
    if rollout.state == "succeeded":
        client.monitoring.close_alerts(rollout.model, rollout.environment, "rollback", now)
