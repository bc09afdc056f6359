"""A growing share of traffic, each step compared with the stable version until it has been watched long enough.

Three e-processes watch a step, on the counts since its traffic began:

- error rate: are the canary's errors more than its share of all errors? (`stats/error_rate.py`)
- latency: is the canary more than `latency_tolerance` times slower? (`stats/latency.py`)
- failure: does the canary fail most of its requests, whatever the stable version does? With S errors in n requests,
  E = 1.9^S * 0.1^(n-S), the likelihood ratio of an error rate of .95 against .5. A version that fails fewer than half
  of its requests has no more than its share of alpha to be caught by it. It is the only one of the three at the step
  of 100 percent, where there is no stable version to compare with.

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

import math
from typing import NamedTuple

from lockgate.delivery.rollout import Decision, Situation
from lockgate.delivery.strategies.readiness import finish_rolling_back, readiness
from lockgate.entities import Observation, Rollout, Scalar, VersionCounters
from lockgate.stats.error_rate import error_rate_e_value
from lockgate.stats.latency import latency_e_value

FAILING_RATE = 0.95
TOLERATED_RATE = 0.5


class Counts(NamedTuple):
    """One version's counts of a step over all replicas."""

    requests: int
    errors: int
    latency_ms_edges: tuple[float, ...]
    latency_ms_counts: tuple[int, ...]


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
    revision = situation.traffic.revision if situation.traffic else 0
    canary = count(situation.observations, version=rollout.version, revision=revision)
    stable = count(situation.observations, version=rollout.baseline_version, revision=revision)
    compared = compare(canary, stable, share=rollout.steps[step] / 100, latency_tolerance=rollout.latency_tolerance)
    needed = len(rollout.steps) / rollout.false_rollback_rate
    evidence = _evidence(canary, stable, compared, needed)
    if compared.mean >= needed:
        reason = (
            f"version {rollout.version} is worse at {rollout.steps[step]} % by its {compared.strongest}: "
            f"{canary.errors} errors in {canary.requests} requests, the stable version {stable.errors} in "
            f"{stable.requests}; evidence {compared.mean:.3g}, {needed:.3g} is enough."
        )
        return Decision("rolling_back", step, reason, evidence)
    baked_s = (situation.now - rollout.updated_at) / 1000
    if not canary.requests and rollout.min_requests:
        return Decision("baking", step, f"no traffic at all yet; {rollout.min_requests} requests are needed.", evidence)
    if baked_s < rollout.bake_s:
        return Decision("baking", step, f"baked {baked_s:.0f} of {rollout.bake_s:.0f} s.", evidence)
    if canary.requests < rollout.min_requests:
        reason = f"{canary.requests} of {rollout.min_requests} requests seen."
        return Decision("baking", step, reason, evidence)
    if step + 1 < len(rollout.steps):
        reason = f"{rollout.steps[step]} % was fine; {rollout.steps[step + 1]} % to version {rollout.version}."
        return Decision("progressing", step + 1, reason, evidence)
    return Decision("succeeded", step, f"version {rollout.version} serves everything.", evidence)


def count(observations: tuple[Observation, ...], *, version: int | None, revision: int) -> Counts:
    """What all replicas counted for `version` under traffic `revision`; a replica that is gone keeps its word."""
    found: list[VersionCounters] = [
        counters
        for seen in observations
        if seen.revision == revision
        for counters in seen.counters
        if counters.version == version
    ]
    edges = next((counters.latency_ms_edges for counters in found if counters.latency_ms_edges), ())
    binned = [counters.latency_ms_counts for counters in found if counters.latency_ms_edges == edges]
    return Counts(
        requests=sum(counters.requests for counters in found),
        errors=sum(counters.errors for counters in found),
        latency_ms_edges=edges,
        latency_ms_counts=tuple(map(sum, zip(*binned, strict=True))),
    )


def compare(canary: Counts, stable: Counts, *, share: float, latency_tolerance: float) -> Comparison:
    """The three e-values of one step. `share` is the canary's share of requests in (0, 1]."""
    failure = failure_e_value(canary.requests, canary.errors)
    if share >= 1.0:
        return Comparison(1.0, 1.0, failure)
    error_rate = error_rate_e_value(
        canary_errors=canary.errors,
        canary_requests=canary.requests,
        stable_errors=stable.errors,
        stable_requests=stable.requests,
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


def failure_e_value(requests: int, errors: int) -> float:
    """Evidence that more than half of all requests fail; see the head of this file.

    >>> failure_e_value(0, 0), round(failure_e_value(11, 11))
    (1.0, 1165)
    """
    log_e = errors * math.log(FAILING_RATE / TOLERATED_RATE) + (requests - errors) * math.log(
        (1 - FAILING_RATE) / (1 - TOLERATED_RATE)
    )
    return math.exp(min(log_e, 700.0))


def _evidence(canary: Counts, stable: Counts, compared: Comparison, needed: float) -> dict[str, Scalar]:
    return {
        "canary_requests": canary.requests,
        "canary_errors": canary.errors,
        "stable_requests": stable.requests,
        "stable_errors": stable.errors,
        "e_error_rate": compared.error_rate,
        "e_latency": compared.latency,
        "e_failure": compared.failure,
        "e_mean": compared.mean,
        "e_needed": needed,
    }
