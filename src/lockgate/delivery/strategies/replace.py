"""All traffic at once: first deployments, small environments, and rollbacks, which are the same thing backwards.

With a baking time the version is watched after the switch. No other version answers beside it, so it is compared with
what the version before had counted until then:

- error rate: does it err more often than the version before did? (`stats/error_rate_before.py`)
- failure: does it fail most of its requests, whatever the version before did? (`baking.py`)

**Error control.** Half of alpha = `false_rollback_rate` is spent on the bound of the earlier error rate, the other half
on the mean of the two e-values, which is an e-value again: it is compared with 2/alpha at every look. A version that
errs no more often than the one before it is therefore rolled back with probability at most alpha, provided that the
version before would have gone on as it had begun; a canary needs no such proviso. Latency is not watched: it follows
the hour of the day too closely to be held against the past.
"""

from typing import NamedTuple

from lockgate.delivery.rollout import Decision, Situation
from lockgate.delivery.strategies.baking import Counts, count, failure_e_value, still_baking
from lockgate.delivery.strategies.readiness import finish_rolling_back, readiness
from lockgate.entities import Rollout
from lockgate.stats.error_rate_before import error_rate_beyond_e_value, upper_error_rate


class Evidence(NamedTuple):
    """That the version is worse than the one before; `mean` is compared with `needed`."""

    error_rate: float
    failure: float
    needed: float

    @property
    def mean(self) -> float:
        return (self.error_rate + self.failure) / 2


def decide(rollout: Rollout, situation: Situation) -> Decision:
    """The next move of a rollout that has one step, 100 percent.

    Where no replica runs there is nothing to wait for, unless the version is to be watched: the next one to start
    serves what is decided here.
    """
    if rollout.state == "pending":
        before = count(situation, rollout.baseline_version)
        reason = f"all traffic to version {rollout.version}."
        return Decision("progressing", 0, reason, baseline=(before.requests, before.errors))
    if rollout.state == "rolling_back":
        return finish_rolling_back(rollout, situation)
    replicas = readiness(rollout, situation)
    if replicas.trouble:
        return Decision("rolling_back", rollout.step, replicas.trouble)
    if rollout.state == "progressing":
        if not replicas.live and not rollout.bake_s:
            return Decision("baking", rollout.step, "no replica is running; the next one starts with this version.")
        if not replicas.is_ready:
            return Decision("progressing", rollout.step, f"waiting for {replicas.waiting_for}.")
        return Decision("baking", rollout.step, f"{replicas.live} replica(s) serve version {rollout.version}.")
    if rollout.bake_s:
        return _bake(rollout, situation)
    return Decision("succeeded", rollout.step, f"version {rollout.version} serves everything.")


def _bake(rollout: Rollout, situation: Situation) -> Decision:
    now = count(situation, rollout.version)
    found = compare(rollout, now)
    evidence = {
        "requests": now.requests,
        "errors": now.errors,
        "requests_before": rollout.baseline_requests,
        "errors_before": rollout.baseline_errors,
        "e_error_rate": found.error_rate,
        "e_failure": found.failure,
        "e_mean": found.mean,
        "e_needed": found.needed,
    }
    if found.mean >= found.needed:
        reason = (
            f"version {rollout.version} is worse than the one before: {now.errors} errors in {now.requests} requests, "
            f"before {rollout.baseline_errors} in {rollout.baseline_requests}; evidence {found.mean:.3g}, "
            f"{found.needed:.3g} is enough."
        )
        return Decision("rolling_back", rollout.step, reason, evidence)
    waiting = still_baking(rollout, now, now=situation.now, evidence=evidence)
    done = Decision("succeeded", rollout.step, f"version {rollout.version} serves everything.", evidence)
    return waiting or done


def compare(rollout: Rollout, now: Counts) -> Evidence:
    """The two e-values against what the version before had counted; without a past only outright failure speaks."""
    alpha = rollout.false_rollback_rate
    rate = upper_error_rate(rollout.baseline_errors, rollout.baseline_requests, alpha=alpha / 2)
    error_rate = error_rate_beyond_e_value(errors=now.errors, requests=now.requests, rate=rate)
    return Evidence(error_rate, failure_e_value(now.requests, now.errors), needed=2 / alpha)
