import msgspec

from lockgate.delivery.history import fate
from lockgate.entities import Rollout, RolloutState


def done(version: int, state: RolloutState = "succeeded", *, left: int | None = None) -> Rollout:
    """A rollout of `version`; a rollback to it where somebody left another version."""
    made = Rollout(
        rollout_id=f"r{version}",
        model="churn",
        environment="production",
        version=version,
        baseline_version=left,
        strategy="replace",
        steps=(100,),
        bake_s=0.0,
        false_rollback_rate=0.01,
        state=state,
        step=0,
        revision=3,
        created_at=1,
        created_by="ann",
        updated_at=1,
    )
    return made if left is None else msgspec.structs.replace(made, strategy="rollback")


def test_the_last_attempt_counts() -> None:
    newest_first = [done(2), done(3, "superseded"), done(2, "rolled_back"), done(1)]
    assert [fate(newest_first, version) for version in (1, 2, 3)] == ["succeeded", "succeeded", "superseded"]


def test_a_version_that_was_left_was_rolled_back() -> None:
    newest_first = [done(1, left=2), done(2), done(1)]
    assert (fate(newest_first, 1), fate(newest_first, 2)) == ("succeeded", "rolled_back")


def test_an_attempt_that_goes_on_has_no_end_yet() -> None:
    assert fate([done(2, "baking"), done(1)], 2) is None
    assert fate([], 1) is None
