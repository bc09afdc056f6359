"""All traffic at once: first deployments, small environments, and rollbacks, which are the same thing backwards."""

from lockgate.delivery.rollout import Decision, Situation
from lockgate.delivery.strategies.readiness import finish_rolling_back, readiness
from lockgate.entities import Rollout


def decide(rollout: Rollout, situation: Situation) -> Decision:
    """The next move of a rollout that has one step, 100 percent.

    Where no replica runs there is nothing to wait for: the next one to start serves what is decided here.
    """
    if rollout.state == "pending":
        return Decision("progressing", 0, f"all traffic to version {rollout.version}.")
    if rollout.state == "rolling_back":
        return finish_rolling_back(rollout, situation)
    replicas = readiness(rollout, situation)
    if replicas.trouble:
        return Decision("rolling_back", rollout.step, replicas.trouble)
    if rollout.state == "progressing":
        if not replicas.live:
            return Decision("baking", rollout.step, "no replica is running; the next one starts with this version.")
        if not replicas.is_ready:
            return Decision("progressing", rollout.step, f"waiting for {replicas.waiting_for}.")
        return Decision("baking", rollout.step, f"{replicas.live} replica(s) serve version {rollout.version}.")
    baked_s = (situation.now - rollout.updated_at) / 1000
    if baked_s < rollout.bake_s:
        return Decision("baking", rollout.step, f"baked {baked_s:.0f} of {rollout.bake_s:.0f} s.")
    return Decision("succeeded", rollout.step, f"version {rollout.version} serves everything.")
