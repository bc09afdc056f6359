"""A growing share of traffic, each step compared with the stable version until it has been watched long enough.

Three e-processes watch a step, on the counts since its traffic began:

- error rate: are the canary's errors more than its share of all errors? A request that a version refuses, because it
  does not take such input, is an error here: a client that sends nonsense is refused by both versions, by their shares,
  and a canary that asks for a column more refuses what the stable version answers. (`stats/error_rate.py`)
- latency: is the canary more than `latency_tolerance` times slower? (`stats/latency.py`)
- failure: does the canary fail most of its requests, whatever the stable version does? (`baking.py`) It is the only
  one of the three at the step of 100 percent, where there is no stable version to compare with.

**Error control.** Under the hypothesis that the canary is no worse, each is a non-negative supermartingale that starts
at 1, and so is their mean, whatever their dependence. By Ville's inequality the mean ever reaches 1/a with probability
at most a, however often it is looked at. Each of the K steps gets a = alpha/K (Bonferroni over the steps), so the false
rollback rate of the whole rollout is at most alpha = `false_rollback_rate`.

**What that means in small numbers.** alpha .01 and three steps ask for a mean of 300, so one test for 900: a canary at
5 percent that fails from its first request, while the stable version does not fail, is rolled back after 6 errors;
alone at 100 percent after 11.

References: Ville (1939), Etude critique de la notion de collectif; Vovk and Wang (2021), E-values: calibration,
combination and applications, Annals of Statistics 49(3), on means of e-values.
"""

from typing import NamedTuple

from lockgate.delivery.rollout import Decision, Situation
from lockgate.delivery.strategies.baking import Counts, count, failure_e_value, still_baking
from lockgate.delivery.strategies.readiness import finish_rolling_back, readiness
from lockgate.entities import Rollout, Scalar
from lockgate.stats.error_rate import error_rate_e_value
from lockgate.stats.latency import latency_e_value


class Comparison(NamedTuple):
    """The evidence that the canary is worse. 1 is none; the mean is compared with 1/alpha of the step."""

    error_rate: float
    latency: float
    failure: float

    @property
    def mean(self) -> float:
        return (self.error_rate + self.latency + self.failure) / 3

    @property
    def strongest(self) -> str:
        return max(
            (("error rate", self.error_rate), ("latency", self.latency), ("failing requests", self.failure)),
            key=lambda pair: pair[1],
        )[0]


def decide(rollout: Rollout, situation: Situation) -> Decision:
    """The next move. A step ends when it was baked, has seen `min_requests`, and nothing speaks against it."""
    if rollout.state == "pending":
        return Decision("progressing", 0, f"{rollout.steps[0]} % of traffic to version {rollout.version}.")
    if rollout.state == "rolling_back":
        return finish_rolling_back(rollout, situation)
    replicas = readiness(rollout, situation)
    if replicas.trouble:
        return Decision("rolling_back", rollout.step, replicas.trouble)
    if rollout.state == "progressing":
        if not replicas.is_ready:
            return Decision("progressing", rollout.step, f"waiting for {replicas.waiting_for}.")
        share = rollout.steps[rollout.step]
        return Decision("baking", rollout.step, f"{replicas.live} replica(s) send {share} % to {rollout.version}.")
    return _bake(rollout, situation)


def _bake(rollout: Rollout, situation: Situation) -> Decision:
    step = rollout.step
    canary = count(situation, rollout.version)
    stable = count(situation, rollout.baseline_version)
    compared = compare(canary, stable, share=rollout.steps[step] / 100, latency_tolerance=rollout.latency_tolerance)
    needed = len(rollout.steps) / rollout.false_rollback_rate
    evidence = _evidence(canary, stable, compared, needed)
    if compared.mean >= needed:
        reason = (
            f"version {rollout.version} is worse at {rollout.steps[step]} % by its {compared.strongest}: "
            f"{_told(canary)}, the stable version {_told(stable)}; "
            f"evidence {compared.mean:.3g}, {needed:.3g} is enough."
        )
        return Decision("rolling_back", step, reason, evidence)
    waiting = still_baking(rollout, canary, now=situation.now, evidence=evidence)
    if waiting is not None:
        return waiting
    if step + 1 < len(rollout.steps):
        reason = f"{rollout.steps[step]} % was fine; {rollout.steps[step + 1]} % to version {rollout.version}."
        return Decision("progressing", step + 1, reason, evidence)
    return Decision("succeeded", step, f"version {rollout.version} serves everything.", evidence)


def compare(canary: Counts, stable: Counts, *, share: float, latency_tolerance: float) -> Comparison:
    """The three e-values of one step. `share` is the canary's share of requests in (0, 1]."""
    failure = failure_e_value(canary.requests, canary.errors)
    if share >= 1.0:
        return Comparison(1.0, 1.0, failure)
    error_rate = error_rate_e_value(
        canary_errors=canary.errors + canary.refused,
        canary_requests=canary.requests + canary.refused,
        stable_errors=stable.errors + stable.refused,
        stable_requests=stable.requests + stable.refused,
        canary_share=share,
    )
    latency = 1.0
    if len(canary.latency_ms_counts) > 1 and canary.latency_ms_edges == stable.latency_ms_edges:
        latency = latency_e_value(
            canary_counts=canary.latency_ms_counts,
            stable_counts=stable.latency_ms_counts,
            canary_share=share,
            edges=canary.latency_ms_edges,
            tolerance=latency_tolerance,
        )
    return Comparison(error_rate, latency, failure)


def _told(counts: Counts) -> str:
    refused = f" and {counts.refused} refused ones" if counts.refused else ""
    return f"{counts.errors} errors in {counts.requests} requests{refused}"


def _evidence(canary: Counts, stable: Counts, compared: Comparison, needed: float) -> dict[str, Scalar]:
    return {
        "canary_requests": canary.requests,
        "canary_errors": canary.errors,
        "canary_refused": canary.refused,
        "stable_requests": stable.requests,
        "stable_errors": stable.errors,
        "stable_refused": stable.refused,
        "e_error_rate": compared.error_rate,
        "e_latency": compared.latency,
        "e_failure": compared.failure,
        "e_mean": compared.mean,
        "e_needed": needed,
    }
