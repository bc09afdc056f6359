"""What a canary promises about its own mistakes, by simulation with fixed seeds."""

import random

import msgspec
import pytest

from lockgate.delivery.rollout import Situation
from lockgate.delivery.strategies.canary import decide
from lockgate.entities import Observation, Rollout, Traffic, TrafficShare, VersionCounters

STEPS = (10, 50, 100)
PER_LOOK = 100
LOOKS_A_STEP = 20
EDGES = (1.0, 2.0, 4.0, 8.0)


def simulate(
    rng: random.Random,
    *,
    alpha: float,
    canary_errors: float = 0.0,
    stable_errors: float = 0.0,
    slowdown: float = 1.0,
    nonsense: float = 0.0,
    canary_refuses: float = 0.0,
) -> str:
    """One whole rollout, looked at after every 100 requests; how it ended.

    Every other look is preceded by clients whose `nonsense` no version takes; the canary refuses still more.
    """
    rollout = Rollout(
        rollout_id="r",
        model="m",
        environment="e",
        version=2,
        baseline_version=1,
        strategy="canary",
        steps=STEPS,
        bake_s=float(LOOKS_A_STEP),
        false_rollback_rate=alpha,
        min_requests=1,
        state="baking",
        step=0,
        revision=0,
        created_at=0,
        created_by="a",
        updated_at=0,
    )
    now = 0
    counts = fresh()
    while rollout.state == "baking":
        now += 1000
        share = STEPS[rollout.step] / 100
        for _ in range(PER_LOOK):
            is_canary = rng.random() < share
            latency = rng.expovariate(1.0) * (slowdown if is_canary else 1.0)
            requests, bins = counts[2 if is_canary else 1]
            bad = (nonsense if now % 2000 else 0.0) + (canary_refuses if is_canary else 0.0)
            if bad and rng.random() < bad:
                requests[2] += 1
                continue
            requests[0] += 1
            requests[1] += rng.random() < (canary_errors if is_canary else stable_errors)
            bins[sum(latency > edge for edge in EDGES)] += 1
        decision = decide(rollout, situation(counts, share, now))
        if decision.state == "progressing":
            counts = fresh()
            rollout = msgspec.structs.replace(rollout, step=decision.step, updated_at=now)
        else:
            rollout = msgspec.structs.replace(rollout, state=decision.state)
    return rollout.state


def fresh() -> dict[int, tuple[list[int], list[int]]]:
    return {version: ([0, 0, 0], [0] * (len(EDGES) + 1)) for version in (1, 2)}


def situation(counts: dict[int, tuple[list[int], list[int]]], share: float, now: int) -> Situation:
    counters = tuple(
        VersionCounters(
            version=version,
            requests=requests,
            errors=errors,
            refused=refused,
            latency_ms_edges=EDGES,
            latency_ms_counts=tuple(bins),
        )
        for version, ((requests, errors, refused), bins) in counts.items()
    )
    traffic = Traffic(
        model="m",
        environment="e",
        revision=1,
        shares=(
            TrafficShare(version=1, digest="a", share=1 - share),
            TrafficShare(version=2, digest="b", share=share, role="canary"),
        ),
        changed_at=0,
    )
    seen = Observation(replica="a", revision=1, observed_at=now, ready=True, counters=counters)
    return Situation(traffic, (seen,), now)


@pytest.mark.parametrize(("seed", "errors", "nonsense"), [(20260101, 0.05, 0.0), (20260105, 0.02, 0.5)])
def test_an_equal_canary_is_rolled_back_no_more_often_than_promised(seed: int, errors: float, nonsense: float) -> None:
    """Whatever share of the requests is nonsense, which both versions refuse."""
    rng = random.Random(seed)
    alpha, runs = 0.2, 60
    rates = {"canary_errors": errors, "stable_errors": errors, "nonsense": nonsense}
    ends = [simulate(rng, alpha=alpha, **rates) for _ in range(runs)]
    assert ends.count("rolling_back") <= alpha * runs
    assert ends.count("rolling_back") + ends.count("succeeded") == runs


def test_a_canary_that_errs_more_often_is_found() -> None:
    rng = random.Random(20260102)
    ends = [simulate(rng, alpha=0.05, canary_errors=0.15, stable_errors=0.03, slowdown=1.0) for _ in range(10)]
    assert ends.count("rolling_back") >= 9


def test_a_canary_that_refuses_more_often_is_found_among_bad_clients() -> None:
    rng = random.Random(20260106)
    ends = [simulate(rng, alpha=0.05, nonsense=0.1, canary_refuses=0.2) for _ in range(10)]
    assert ends.count("rolling_back") >= 9


def test_a_canary_slower_than_is_tolerated_is_found() -> None:
    rng = random.Random(20260103)
    ends = [simulate(rng, alpha=0.05, canary_errors=0.0, stable_errors=0.0, slowdown=5.0) for _ in range(10)]
    assert ends.count("rolling_back") >= 9


def test_a_canary_that_is_slower_within_the_tolerance_is_let_through() -> None:
    rng = random.Random(20260104)
    ends = [simulate(rng, alpha=0.05, canary_errors=0.0, stable_errors=0.0, slowdown=1.8) for _ in range(20)]
    assert ends.count("rolling_back") <= 1
