import msgspec
import numpy as np
import pytest

from lockgate.delivery.rollout import Decision, Situation
from lockgate.delivery.strategies import replace
from lockgate.delivery.strategies.readiness import FRESH_MS
from lockgate.entities import Observation, Rollout, RolloutState, Traffic, TrafficShare, VersionCounters

NOW = 1_700_000_000_000


def rollout(state: RolloutState = "baking", **changes: object) -> Rollout:
    """Version 2 after version 1, which erred 10 times in 2,000 requests."""
    made = Rollout(
        rollout_id="r1",
        model="churn",
        environment="production",
        version=2,
        baseline_version=1,
        strategy="replace",
        steps=(100,),
        bake_s=60.0,
        false_rollback_rate=0.01,
        min_requests=100,
        baseline_requests=2000,
        baseline_errors=10,
        state=state,
        step=-1 if state == "pending" else 0,
        revision=3,
        created_at=NOW - 100_000,
        created_by="ann",
        updated_at=NOW - 61_000,
    )
    return msgspec.structs.replace(made, **changes)


TRAFFIC = Traffic(
    model="churn",
    environment="production",
    revision=7,
    shares=(TrafficShare(version=2, digest="b", share=1.0, role="canary"),),
    changed_at=NOW,
)


def seen(*counters: VersionCounters, ready: bool = True, revision: int = 7, age_ms: int = 0) -> Observation:
    return Observation(replica="a", revision=revision, observed_at=NOW - age_ms, ready=ready, counters=counters)


def counted(version: int, requests: int, errors: int = 0) -> VersionCounters:
    return VersionCounters(version=version, requests=requests, errors=errors)


def decide(current: Rollout, *observations: Observation) -> Decision:
    return replace.decide(current, Situation(TRAFFIC, observations, NOW))


def test_the_counts_of_the_version_before_are_kept_when_it_is_left() -> None:
    gone = msgspec.structs.replace(seen(counted(1, 500, 2), age_ms=FRESH_MS + 1), replica="b")
    decision = decide(rollout("pending"), seen(counted(1, 1500, 8)), gone, seen(counted(1, 9, 9), revision=6))
    assert (decision.state, decision.step, decision.baseline) == ("progressing", 0, (2000, 10))


def test_a_version_that_does_as_well_as_the_one_before_stays_after_its_time() -> None:
    decision = decide(rollout(), seen(counted(2, 2000, 10)))
    assert decision.state == "succeeded"
    assert decision.evidence["errors_before"] == 10


def test_a_version_that_errs_more_than_the_one_before_goes_back() -> None:
    decision = decide(rollout(updated_at=NOW), seen(counted(2, 400, 40)))
    assert decision.state == "rolling_back"
    assert "40 errors in 400 requests, before 10 in 2000" in decision.reason


def test_what_would_be_worse_than_a_good_past_is_as_usual_after_a_bad_one() -> None:
    bad_past = rollout(baseline_requests=2000, baseline_errors=200)
    assert decide(bad_past, seen(counted(2, 400, 40))).state == "succeeded"


def test_without_a_past_only_outright_failure_goes_back() -> None:
    no_past = rollout(baseline_requests=0, baseline_errors=0)
    assert decide(no_past, seen(counted(2, 400, 150))).state == "succeeded"
    assert decide(no_past, seen(counted(2, 20, 20))).state == "rolling_back"


@pytest.mark.parametrize(
    ("changes", "requests", "reason"),
    [
        ({"updated_at": NOW - 59_000}, 100, "baked 59 of 60 s"),
        ({"updated_at": NOW - 86_400_000}, 99, "99 of 100 requests"),
        ({"updated_at": NOW - 86_400_000}, 0, "no traffic at all"),
    ],
)
def test_it_bakes_for_its_time_and_its_requests(changes: dict[str, object], requests: int, reason: str) -> None:
    decision = decide(rollout(**changes), seen(counted(2, requests)))
    assert decision.state == "baking"
    assert reason in decision.reason


def test_counts_of_the_traffic_before_do_not_count() -> None:
    assert decide(rollout(), seen(counted(2, 1000, 1000), revision=6)).state == "baking"


def test_who_is_to_be_watched_waits_for_a_replica() -> None:
    assert decide(rollout("progressing")).state == "progressing"
    assert decide(rollout("progressing", bake_s=0.0)).state == "baking"


def test_a_version_that_dies_while_it_bakes_goes_back_at_once() -> None:
    decision = decide(rollout(updated_at=NOW), seen(ready=False))
    assert decision.state == "rolling_back"
    assert "does not load" in decision.reason


def test_without_a_baking_time_nothing_is_watched() -> None:
    assert decide(rollout(bake_s=0.0), seen(counted(2, 400, 400))).state == "succeeded"


def rolled_back(rng: np.random.Generator, *, before: float, after: float) -> bool:
    """Whether a rollout that is looked at 20 times goes back; at a false rollback rate of 10 percent."""
    past = rollout(
        false_rollback_rate=0.1,
        updated_at=NOW,
        baseline_requests=3000,
        baseline_errors=int(rng.binomial(3000, before)),
    )
    looks = rng.binomial(100, after, 20).cumsum().tolist()
    return any(
        decide(past, seen(counted(2, 100 * look, errors))).state == "rolling_back"
        for look, errors in enumerate(looks, 1)
    )


def test_the_false_rollback_rate_is_kept_and_a_worse_version_is_found() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([rolled_back(rng, before=0.02, after=0.02) for _ in range(100)]) <= 0.1
    assert np.mean([rolled_back(rng, before=0.02, after=0.06) for _ in range(20)]) >= 0.9
