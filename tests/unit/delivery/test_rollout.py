import itertools

import msgspec
import pytest

from lockgate.delivery.rollout import Decision, is_finished, last_good, move, traffic_after
from lockgate.entities import LEGAL_MOVES, Rollout, RolloutState
from lockgate.errors import Conflict

NOW = 1_700_000_000_000
DIGESTS = {1: "a" * 64, 2: "b" * 64}


def rollout(
    state: RolloutState = "pending", *, step: int = -1, version: int = 2, baseline: int | None = 1, **changes: object
) -> Rollout:
    made = Rollout(
        rollout_id="r1",
        model="churn",
        environment="production",
        version=version,
        baseline_version=baseline,
        strategy="canary",
        steps=(5, 25, 100),
        bake_s=60.0,
        false_rollback_rate=0.01,
        state=state,
        step=step,
        revision=0,
        created_at=NOW,
        created_by="ann",
        updated_at=NOW,
    )
    return msgspec.structs.replace(made, **changes)


def test_a_move_counts_the_revision_and_records_why() -> None:
    moved, transition = move(
        rollout(), Decision("progressing", 0, "first step", {"share": 5}), now=NOW + 1, by="driver"
    )
    assert (moved.state, moved.step, moved.revision, moved.updated_at) == ("progressing", 0, 1, NOW + 1)
    assert (transition.from_state, transition.to_state, transition.revision) == ("pending", "progressing", 1)
    assert (transition.reason, transition.evidence, transition.by) == ("first step", {"share": 5}, "driver")


@pytest.mark.parametrize(("state", "to"), list(itertools.product(LEGAL_MOVES, LEGAL_MOVES)))
def test_only_legal_moves_are_made(state: RolloutState, to: RolloutState) -> None:
    decision = Decision(to, 0, "because")
    if to in LEGAL_MOVES[state]:
        assert move(rollout(state, step=0), decision, now=NOW, by="x")[0].state == to
    else:
        with pytest.raises(Conflict, match=f"cannot become {to}"):
            move(rollout(state, step=0), decision, now=NOW, by="x")


def test_terminal_states_are_finished() -> None:
    assert [state for state in LEGAL_MOVES if is_finished(rollout(state))] == ["succeeded", "rolled_back", "superseded"]


def test_a_step_splits_traffic_between_stable_and_canary() -> None:
    traffic = traffic_after(rollout("progressing", step=0), digests=DIGESTS, before=None, now=NOW)
    assert traffic is not None
    assert [(s.version, s.digest, s.share, s.role) for s in traffic.shares] == [
        (1, "a" * 64, 0.95, "stable"),
        (2, "b" * 64, 0.05, "canary"),
    ]
    assert traffic.revision == 1


def test_baking_keeps_the_traffic_so_that_counters_go_on() -> None:
    progressing = rollout("progressing", step=0)
    traffic = traffic_after(progressing, digests=DIGESTS, before=None, now=NOW)
    assert traffic_after(rollout("baking", step=0), digests=DIGESTS, before=traffic, now=NOW + 5) is None


def test_rolling_back_gives_everything_to_the_baseline() -> None:
    before = traffic_after(rollout("baking", step=1), digests=DIGESTS, before=None, now=NOW)
    after = traffic_after(rollout("rolling_back", step=1), digests=DIGESTS, before=before, now=NOW)
    assert after is not None
    assert [(s.version, s.share, s.role) for s in after.shares] == [(1, 1.0, "stable")]
    assert after.revision == 2


def test_a_first_version_has_nothing_to_roll_back_to_and_traffic_stays() -> None:
    first = rollout("rolling_back", step=0, baseline=None)
    assert traffic_after(first, digests=DIGESTS, before=None, now=NOW) is None


def test_a_first_version_that_fails_says_that_it_stays() -> None:
    moved, transition = move(
        rollout("baking", step=0, baseline=None), Decision("rolling_back", 0, "it does not load."), now=NOW, by="x"
    )
    assert moved.reason == transition.reason
    assert moved.reason.startswith("it does not load; production has no earlier version to go back to")
    later, _ = move(rollout("baking", step=0), Decision("rolling_back", 0, "it does not load."), now=NOW, by="x")
    assert later.reason == "it does not load."


def test_what_the_version_before_had_counted_stays_with_the_rollout() -> None:
    moved, _ = move(rollout(), Decision("progressing", 0, "go", baseline=(500, 3)), now=NOW, by="x")
    moved, _ = move(moved, Decision("baking", 0, "served"), now=NOW, by="x")
    assert (moved.baseline_requests, moved.baseline_errors) == (500, 3)


def test_success_makes_the_version_stable() -> None:
    after = traffic_after(rollout("succeeded", step=2), digests=DIGESTS, before=None, now=NOW)
    assert after is not None
    assert [(s.version, s.share, s.role) for s in after.shares] == [(2, 1.0, "stable")]


def done(version: int, strategy: str = "canary", state: RolloutState = "succeeded") -> Rollout:
    return rollout(state, version=version, strategy=strategy)


def test_the_versions_to_return_to_are_those_that_were_fully_served() -> None:
    assert last_good((done(1), done(2, state="rolled_back"), done(3), done(3))) == (1, 3)


def test_two_rollbacks_in_a_row_go_two_versions_back() -> None:
    history = (done(1), done(2), done(3), done(2, "rollback"))
    assert last_good(history) == (1, 2)
    assert last_good((*history, done(1, "rollback"))) == (1,)


def test_a_version_deployed_again_after_a_rollback_is_good_again() -> None:
    assert last_good((done(1), done(2), done(1, "rollback"), done(2))) == (1, 2)
