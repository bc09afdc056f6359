from typing import Any

import msgspec
import pytest

from lockgate.delivery.advance import advance
from lockgate.delivery.rollback import rollback
from lockgate.entities import Rollout
from lockgate.errors import NotFound
from lockgate.project import Folder

Place = Any  # conftest's Workplace: test folders are no packages


@pytest.fixture(autouse=True)
def staging_is_the_last_environment(place: Place) -> None:
    """And so the one whose version is the champion."""
    project = place.folder.project
    last = {"staging": project.environments["staging"]}
    place.folder = Folder(place.folder.root, msgspec.structs.replace(project, environments=last))


def roll_back(place: Place) -> Rollout:
    place.clock.sleep(1.0)
    return rollback(
        place.client,
        place.target,
        model="churn",
        environment="staging",
        by="bea",
        reason="complaints",
        clock=place.clock,
        production="staging",
    )


def test_a_rollback_restores_the_version_before_at_once(place: Place) -> None:
    for version in (1, 2):
        place.drive(place.begin(version))
    rollout = roll_back(place)
    assert (rollout.strategy, rollout.state, rollout.version, rollout.created_by) == ("rollback", "succeeded", 1, "bea")
    assert [(share.version, share.share) for share in place.target.traffic.shares] == [(1, 1.0)]
    assert place.client.registry.list_aliases("churn") == {"staging": 1, "champion": 1}
    moves = {move.reason for move in place.client.registry.alias_history("churn") if move.to_version == 1}
    assert f"rollout {rollout.rollout_id} in staging: succeeded: complaints; version 1 serves everything." in moves


def test_a_version_that_was_left_is_no_challenger_any_more(place: Place) -> None:
    for version in (1, 2):
        place.drive(place.begin(version))
    place.client.registry.set_alias("churn", "challenger", 2)
    rollout = roll_back(place)
    assert "challenger" not in place.client.registry.list_aliases("churn")
    withdrawn = next(move for move in place.client.registry.alias_history("churn") if move.alias == "challenger")
    assert (withdrawn.from_version, withdrawn.to_version) == (2, None)
    assert rollout.rollout_id in withdrawn.reason


def test_an_unfinished_rollout_is_turned_around(place: Place) -> None:
    place.drive(place.begin(1))
    rollout = place.begin(2)
    advance(place.client, place.target, rollout, place.clock.now_ms(), "ann", production=None)
    turned = roll_back(place)
    assert turned.rollout_id == rollout.rollout_id
    assert (turned.state, turned.reason) == ("rolled_back", "complaints")
    assert [share.version for share in place.target.traffic.shares] == [1]


def test_traffic_has_moved_even_where_no_replica_answers(place: Place) -> None:
    for version in (1, 2):
        place.drive(place.begin(version))
    place.target.observe = lambda: ()
    assert roll_back(place).state == "succeeded"
    assert place.client.delivery.get_traffic("churn", "staging").shares[0].version == 1


def test_without_an_earlier_version_there_is_nothing_to_return_to(place: Place) -> None:
    with pytest.raises(NotFound, match="nothing yet"):
        roll_back(place)
    place.drive(place.begin(1))
    with pytest.raises(NotFound, match="version 1 is the first"):
        roll_back(place)


def test_a_version_that_was_left_is_not_returned_to(place: Place) -> None:
    for version in (1, 2):
        place.drive(place.begin(version))
    roll_back(place)
    with pytest.raises(NotFound):
        roll_back(place)
