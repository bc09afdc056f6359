import msgspec

from lockgate.delivery.rollout import Decision, Situation
from lockgate.delivery.strategies import canary, replace
from lockgate.delivery.strategies.readiness import FRESH_MS, LOADING_LIMIT_MS
from lockgate.entities import Observation, Rollout, RolloutState, Traffic, TrafficShare, VersionCounters

NOW = 1_700_000_000_000
EDGES = (1.0, 5.0, 25.0)


def rollout(state: RolloutState = "baking", *, step: int = 0, **changes: object) -> Rollout:
    made = Rollout(
        rollout_id="r1",
        model="churn",
        environment="production",
        version=2,
        baseline_version=1,
        strategy="canary",
        steps=(5, 25, 100),
        bake_s=60.0,
        false_rollback_rate=0.01,
        min_requests=100,
        state=state,
        step=step,
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
    shares=(TrafficShare(version=1, digest="a", share=0.95), TrafficShare(version=2, digest="b", share=0.05)),
    changed_at=NOW,
)


def seen(
    *counters: VersionCounters, ready: bool = True, revision: int = 7, age_ms: int = 0, replica: str = "a"
) -> Observation:
    return Observation(
        replica=replica, revision=revision, observed_at=NOW - age_ms, ready=ready, counters=tuple(counters)
    )


def counted(version: int, requests: int, errors: int = 0, *, slow: int = 0, refused: int = 0) -> VersionCounters:
    return VersionCounters(
        version=version,
        requests=requests,
        errors=errors,
        refused=refused,
        latency_ms_edges=EDGES,
        latency_ms_counts=(requests - slow, 0, 0, slow),
    )


def decide(current: Rollout, *observations: Observation) -> Decision:
    return canary.decide(current, Situation(TRAFFIC, observations, NOW))


def test_a_step_that_was_fine_is_followed_by_the_next() -> None:
    decision = decide(rollout(), seen(counted(1, 1900, 19), counted(2, 100, 1)))
    assert (decision.state, decision.step) == ("progressing", 1)
    assert decision.evidence["canary_requests"] == 100


def test_the_last_step_succeeds() -> None:
    decision = decide(rollout(step=2), seen(counted(2, 100, 1)))
    assert decision.state == "succeeded"


def test_baking_time_is_not_cut_short() -> None:
    decision = decide(rollout(updated_at=NOW - 59_000), seen(counted(1, 1900), counted(2, 100)))
    assert decision.state == "baking"
    assert "baked 59 of 60 s" in decision.reason


def test_too_few_requests_keep_it_baking_however_long_it_takes() -> None:
    decision = decide(rollout(updated_at=NOW - 86_400_000), seen(counted(1, 1900), counted(2, 99)))
    assert decision.state == "baking"
    assert "99 of 100 requests" in decision.reason


def test_no_traffic_is_said() -> None:
    decision = decide(rollout(), seen())
    assert decision.state == "baking"
    assert "no traffic at all" in decision.reason


def test_a_canary_that_fails_every_request_goes_back_after_six() -> None:
    five = decide(rollout(), seen(counted(1, 95), counted(2, 5, 5)))
    six = decide(rollout(), seen(counted(1, 114), counted(2, 6, 6)))
    assert five.state == "baking"
    assert six.state == "rolling_back"
    assert "error rate" in six.reason


def test_a_canary_that_refuses_what_the_stable_version_answers_goes_back_as_if_it_had_failed() -> None:
    five = decide(rollout(), seen(counted(1, 95), counted(2, 0, refused=5)))
    six = decide(rollout(), seen(counted(1, 114), counted(2, 0, refused=6)))
    assert (five.state, six.state) == ("baking", "rolling_back")
    assert "0 errors in 0 requests and 6 refused ones, the stable version 0 errors in 114 requests;" in six.reason
    assert (six.evidence["canary_refused"], six.evidence["stable_refused"]) == (6, 0)


def test_bad_clients_that_both_versions_refuse_roll_nothing_back() -> None:
    decision = decide(rollout(), seen(counted(1, 1900, refused=5700), counted(2, 100, refused=300)))
    assert (decision.state, decision.step) == ("progressing", 1)


def test_a_version_alone_at_full_traffic_may_refuse_what_it_likes() -> None:
    assert decide(rollout(step=2), seen(counted(2, 100, refused=9000))).state == "succeeded"


def test_refused_requests_do_not_count_as_seen_and_are_told() -> None:
    both = seen(counted(1, 1900, refused=760), counted(2, 0, refused=40))
    decision = decide(rollout(), both)
    assert decision.state == "baking"
    assert decision.reason == (
        "0 of 100 requests seen; 40 more were refused: their input is not what the version takes."
    )


def test_a_version_alone_at_full_traffic_goes_back_when_it_fails_eleven_times() -> None:
    assert decide(rollout(step=2), seen(counted(2, 10, 10))).state == "baking"
    assert decide(rollout(step=2), seen(counted(2, 11, 11))).state == "rolling_back"


def test_errors_that_both_versions_share_roll_nothing_back() -> None:
    decision = decide(rollout(), seen(counted(1, 1900, 380), counted(2, 100, 20)))
    assert (decision.state, decision.step) == ("progressing", 1)


def test_a_slower_canary_goes_back() -> None:
    decision = decide(rollout(), seen(counted(1, 1900, slow=38), counted(2, 100, slow=30)))
    assert decision.state == "rolling_back"
    assert "latency" in decision.reason


def test_counts_of_an_older_split_do_not_count() -> None:
    decision = decide(rollout(), seen(counted(2, 1000, 1000), revision=6), seen(counted(2, 100), replica="b"))
    assert decision.state == "progressing"


def test_counts_of_all_replicas_are_added_also_of_one_that_is_gone() -> None:
    gone = seen(counted(1, 900), counted(2, 50), replica="b", age_ms=FRESH_MS + 1)
    decision = decide(rollout(), seen(counted(1, 900), counted(2, 50)), gone)
    assert decision.state == "progressing"


def test_a_version_that_does_not_load_goes_back_at_once() -> None:
    for state in ("progressing", "baking"):
        decision = decide(rollout(state), seen(ready=False), seen(replica="b"))
        assert decision.state == "rolling_back"
        assert "does not load on replica a" in decision.reason


def test_progressing_waits_for_every_live_replica() -> None:
    waiting = decide(rollout("progressing"), seen(), seen(replica="b", revision=6))
    assert (waiting.state, waiting.reason) == ("progressing", "waiting for b.")
    assert decide(rollout("progressing"), seen(), seen(replica="b")).state == "baking"
    assert decide(rollout("progressing"), seen(age_ms=FRESH_MS + 1)).state == "progressing"


def test_a_model_that_never_finishes_loading_goes_back() -> None:
    current = rollout("progressing", updated_at=NOW - LOADING_LIMIT_MS - 1)
    assert decide(current, seen(revision=6)).state == "rolling_back"


def test_rolling_back_ends_when_replicas_have_returned_or_had_the_time_to() -> None:
    current = rollout("rolling_back", updated_at=NOW - 50, reason="worse")
    assert decide(current, seen(revision=6)).state == "rolling_back"
    assert decide(current, seen()) == Decision("rolled_back", 0, "worse")
    assert decide(current) == Decision("rolled_back", 0, "worse")
    late = rollout("rolling_back", updated_at=NOW - FRESH_MS - 1, reason="worse")
    assert decide(late, seen(revision=6)).state == "rolled_back"


def test_replace_goes_straight_to_success() -> None:
    current = rollout("pending", step=-1, steps=(100,), strategy="replace", bake_s=0.0)
    states = []
    while current.state != "succeeded":
        decision = replace.decide(current, Situation(TRAFFIC, (seen(),), NOW))
        current = msgspec.structs.replace(current, state=decision.state, step=decision.step)
        states.append(current.state)
    assert states == ["progressing", "baking", "succeeded"]


def test_replace_without_replicas_does_not_wait_for_any() -> None:
    current = rollout("progressing", steps=(100,), strategy="replace", bake_s=0.0)
    assert replace.decide(current, Situation(TRAFFIC, (), NOW)).state == "baking"


def test_replace_goes_back_when_the_version_does_not_load() -> None:
    current = rollout("progressing", steps=(100,), strategy="replace", bake_s=0.0)
    assert replace.decide(current, Situation(TRAFFIC, (seen(ready=False),), NOW)).state == "rolling_back"
