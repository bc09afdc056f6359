from typing import Any

import pytest

from lockgate.delivery.declare import declare, is_declared
from lockgate.entities import Approval
from lockgate.errors import AlreadyExists, Conflict, GateFailed, NotFound, PermissionDenied
from lockgate.project import Rollout as RolloutPlan

Place = Any  # conftest's Workplace: test folders are no packages


def approve(place: Place, version: int) -> None:
    place.client.registry.approve(
        Approval(model="churn", version=version, environment="production", approver="bea", approved_at=1)
    )


def test_a_first_version_replaces_nothing_and_gets_everything(place: Place) -> None:
    rollout = place.begin(1)
    assert (rollout.strategy, rollout.steps, rollout.baseline_version) == ("replace", (100,), None)
    assert place.drive(rollout).state == "succeeded"
    assert place.client.registry.list_aliases("churn") == {"staging": 1}


def test_what_the_gates_refused_is_refused_with_their_reasons(place: Place) -> None:
    with pytest.raises(GateFailed, match=r"auc >= 0\.8 \(auc is 0\.7\)"):
        place.begin(3)


def test_an_override_is_recorded(place: Place) -> None:
    rollout = place.begin(3, override_reason="the label was wrong")
    assert place.client.delivery.get_rollout(rollout.rollout_id).override_reason == "the label was wrong"
    events = place.client.events.list_events()
    assert any(event.details.get("override_reason") == "the label was wrong" for event in events)
    place.drive(rollout)
    (move,) = (move for move in place.client.registry.alias_history("churn") if move.alias == "staging")
    assert "succeeded: override: the label was wrong; " in move.reason


def test_missing_approvals_are_named_with_the_command_that_gives_them(place: Place) -> None:
    with pytest.raises(PermissionDenied, match="1 missing") as refused:
        place.begin(1, "production")
    assert refused.value.hint == "lockgate approve churn@1 --for production"
    approve(place, 2)
    with pytest.raises(PermissionDenied):
        place.begin(1, "production")
    approve(place, 1)
    assert place.begin(1, "production").state == "pending"


def test_an_override_replaces_no_approval(place: Place) -> None:
    with pytest.raises(PermissionDenied):
        place.begin(3, "production", override_reason="now")


def test_environments_that_a_deployment_loosened_are_declared_again_when_the_file_is(place: Place) -> None:
    declare(place.folder, place.client, model="churn", may_loosen=False)
    assert is_declared(place.folder, "churn") and not is_declared(place.folder, "fraud")
    strict = place.folder
    place.ask_approvals("production", 0)
    assert place.begin(1, "production").state == "pending"
    assert not is_declared(strict, "churn")


def test_an_unknown_environment_is_answered_with_the_nearest(place: Place) -> None:
    with pytest.raises(NotFound, match="staging, production") as missing:
        place.begin(1, "prodcution")
    assert missing.value.hint == "did you mean 'production'?"


def test_an_unknown_version_is_not_found(place: Place) -> None:
    with pytest.raises(NotFound):
        place.begin(9)


def test_an_unfinished_rollout_is_in_the_way_until_it_is_superseded(place: Place) -> None:
    first = place.begin(1)
    with pytest.raises(Conflict):
        place.begin(2)
    assert place.drive(place.begin(2, supersede=True)).state == "succeeded"
    assert place.client.delivery.get_rollout(first.rollout_id).state == "superseded"


def test_a_version_that_is_served_is_not_deployed_again(place: Place) -> None:
    place.drive(place.begin(1))
    with pytest.raises(AlreadyExists):
        place.begin(1)


def test_a_canary_goes_through_its_steps_and_moves_champion_and_challenger(place: Place) -> None:
    for version in (1, 2):
        approve(place, version)
    place.drive(place.begin(1, "production"))
    place.client.registry.set_alias("churn", "challenger", 2)
    rollout = place.begin(2, "production")
    assert (rollout.strategy, rollout.baseline_version, rollout.bake_s) == ("canary", 1, 10.0)
    assert place.drive(rollout).state == "succeeded"
    moves = place.client.delivery.list_transitions(rollout.rollout_id)
    assert [(move.to_state, move.step) for move in moves] == [
        ("progressing", 0),
        ("baking", 0),
        ("progressing", 1),
        ("baking", 1),
        ("succeeded", 1),
    ]
    assert place.client.registry.list_aliases("churn") == {"production": 2, "champion": 2}


def test_a_failing_canary_is_rolled_back_told_and_leaves_the_champion(place: Place) -> None:
    for version in (1, 2):
        approve(place, version)
    place.drive(place.begin(1, "production"))
    place.target.failing = {2}
    rollout = place.drive(place.begin(2, "production"))
    assert rollout.state == "rolled_back"
    assert "error rate" in rollout.reason
    assert [share.version for share in place.target.traffic.shares] == [1]
    assert place.client.registry.get_alias("churn", "champion") == 1
    (alert,) = place.client.monitoring.list_alerts(open_only=True)
    assert alert.kind == "rollback"


def test_what_was_rolled_back_is_no_challenger_any_more_and_the_history_says_why(place: Place) -> None:
    place.drive(place.begin(1))
    place.client.registry.set_alias("churn", "challenger", 2, reason="passed its gates")
    place.target.broken = {2}
    place.drive(place.begin(2))
    assert place.client.registry.list_aliases("churn") == {"staging": 1}
    withdrawn = next(move for move in place.client.registry.alias_history("churn") if move.alias == "challenger")
    assert (withdrawn.from_version, withdrawn.to_version) == (2, None)
    assert "staging: rolled_back: version 2 does not load" in withdrawn.reason


def test_a_newer_challenger_stays_when_an_older_version_is_rolled_back(place: Place) -> None:
    newer = place.release(passed=True).version
    place.drive(place.begin(1))
    place.client.registry.set_alias("churn", "challenger", newer)
    place.target.broken = {2}
    place.drive(place.begin(2))
    assert place.client.registry.get_alias("churn", "challenger") == newer


def test_a_first_version_that_fails_stays_and_says_so(place: Place) -> None:
    place.target.broken = {1}
    rollout = place.drive(place.begin(1))
    assert rollout.state == "rolled_back"
    assert "staging has no earlier version to go back to" in rollout.reason
    assert [share.version for share in place.target.traffic.shares] == [1]


def test_replace_watches_when_it_is_given_a_baking_time(place: Place) -> None:
    place.plan("staging", RolloutPlan(bake="10s", min_requests=10))
    first = place.begin(1)
    assert (first.strategy, first.bake_s) == ("replace", 0.0)
    place.drive(first)
    place.target.failing = {2}
    rollout = place.drive(place.begin(2))
    assert (rollout.strategy, rollout.bake_s, rollout.baseline_requests) == ("replace", 10.0, 500)
    assert rollout.state == "rolled_back"
    assert "500 errors in 500 requests, before 0 in 500" in rollout.reason
    assert [share.version for share in place.target.traffic.shares] == [1]


def test_replace_without_a_baking_time_is_over_at_once(place: Place) -> None:
    place.drive(place.begin(1))
    place.target.failing = {2}
    rollout = place.begin(2)
    assert rollout.bake_s == 0.0
    assert place.drive(rollout).state == "succeeded"


def test_a_version_that_does_not_load_never_gets_traffic_for_long(place: Place) -> None:
    place.drive(place.begin(1))
    place.target.broken = {2}
    rollout = place.drive(place.begin(2))
    assert rollout.state == "rolled_back"
    assert "does not load" in rollout.reason
    assert [share.version for share in place.target.traffic.shares] == [1]
