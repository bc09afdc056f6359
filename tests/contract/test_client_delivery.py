import msgspec
import pytest

from lockgate.client.client import Client
from lockgate.entities import LEGAL_MOVES, Rollout, RolloutState, Traffic, TrafficShare
from lockgate.errors import AlreadyExists, Conflict, GateFailed, InvalidInput, NotFound, PermissionDenied


@pytest.fixture(autouse=True)
def two_versions(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    client.registry.create_release(make_release(digest="b" * 64))


DIGESTS = {1: "a" * 64, 2: "b" * 64}


def traffic(revision: int, *shares: tuple[int, float]) -> Traffic:
    return Traffic(
        model="churn",
        environment="production",
        revision=revision,
        shares=tuple(TrafficShare(version=v, digest=DIGESTS[v], share=share) for v, share in shares),
        changed_at=1,
    )


def serve(client: Client, rollout: Rollout, make_move) -> Rollout:
    """The rollout, carried out."""
    at = client.delivery.create_rollout(rollout)
    for state in ("progressing", "baking", "succeeded"):
        at, move = make_move(at, state)
        client.delivery.advance_rollout(at, move, traffic=None)
    return at


def test_rollout_is_moved_with_its_traffic_and_aliases_at_once(client: Client, make_rollout, make_move) -> None:
    served = serve(client, make_rollout("r0", version=2), make_move)
    plan = msgspec.structs.replace(make_rollout("r1"), baseline_version=served.version)
    rollout = client.delivery.create_rollout(plan)
    assert client.delivery.current_rollout("churn", "production") == rollout
    moved, move = make_move(rollout, "progressing", step=0)
    assert client.delivery.advance_rollout(moved, move, traffic=traffic(1, (1, 0.05), (2, 0.95))) == moved
    baking, second = make_move(moved, "baking")
    client.delivery.advance_rollout(baking, second, traffic=None)
    done, last = make_move(baking, "succeeded", step=1)
    client.delivery.advance_rollout(done, last, traffic=traffic(2, (1, 1.0)), aliases={"production": 1})
    assert client.delivery.get_rollout("r1") == done
    assert client.delivery.list_transitions("r1") == [move, second, last]
    assert client.delivery.get_traffic("churn", "production") == traffic(2, (1, 1.0))
    assert client.delivery.list_traffic() == [traffic(2, (1, 1.0))]
    assert client.registry.list_aliases("churn") == {"production": 1}
    assert client.delivery.current_rollout("churn", "production") is None


def test_a_move_sends_traffic_only_to_its_version_and_to_the_one_before(
    client: Client, make_rollout, make_move, make_release
) -> None:
    client.registry.create_release(make_release(digest="c" * 64))
    serve(client, make_rollout("r0", version=2), make_move)
    plan = msgspec.structs.replace(make_rollout("r1"), baseline_version=2)
    moved, move = make_move(client.delivery.create_rollout(plan), "progressing", step=0)
    for version, digest, words in (
        (3, "c", "cannot send traffic to version 3"),
        (1, "c", "churn@1 has the content aa"),
    ):
        share = TrafficShare(version=version, digest=digest * 64, share=1.0)
        with pytest.raises(InvalidInput, match=words):
            split = msgspec.structs.replace(traffic(1, (1, 1.0)), shares=(share,))
            client.delivery.advance_rollout(moved, move, traffic=split)
    assert client.delivery.list_traffic() == []
    client.delivery.advance_rollout(moved, move, traffic=traffic(1, (2, 0.95), (1, 0.05)))


@pytest.mark.parametrize(
    "rewritten",
    [
        {"override_reason": None},
        {"begun_because": ""},
        {"steps": (1, 2)},
        {"bake_s": 0.0},
        {"false_rollback_rate": 0.9},
        {"min_requests": 0},
        {"latency_tolerance": 99.0},
        {"created_by": "bob"},
        {"baseline_version": 2},
    ],
)
def test_a_move_rewrites_nothing_of_what_was_begun(
    client: Client, make_rollout, make_move, rewritten: dict[str, object]
) -> None:
    plan = msgspec.structs.replace(make_rollout("r1"), override_reason="a leak", begun_because="override: a leak")
    begun = client.delivery.create_rollout(plan)
    moved, move = make_move(begun, "progressing", step=0)
    with pytest.raises(InvalidInput, match=f"a move cannot change {next(iter(rewritten))} of a rollout"):
        client.delivery.advance_rollout(msgspec.structs.replace(moved, **rewritten), move, traffic=None)
    assert client.delivery.get_rollout("r1") == begun


def test_a_move_withdraws_an_alias_from_its_version_alone(client: Client, make_rollout, make_move) -> None:
    client.registry.set_alias("churn", "challenger", 1)
    client.registry.set_alias("churn", "candidate", 2)
    moved, move = make_move(client.delivery.create_rollout(make_rollout("r1")), "rolling_back")
    client.delivery.advance_rollout(moved, move, traffic=None)
    back, last = make_move(moved, "rolled_back")
    withdrawn = {"challenger": 1, "candidate": 1, "nobodys": 1}
    client.delivery.advance_rollout(back, last, traffic=None, withdrawn=withdrawn)
    assert client.registry.list_aliases("churn") == {"candidate": 2}
    newest = client.registry.alias_history("churn")[0]
    assert (newest.alias, newest.from_version, newest.to_version) == ("challenger", 1, None)
    assert "rollout r1 in production: rolled_back" in newest.reason


def test_alias_history_says_why_the_rollout_was_begun(client: Client, make_rollout, make_move) -> None:
    plan = msgspec.structs.replace(make_rollout("r1"), begun_because="override: the label was wrong")
    at = client.delivery.create_rollout(plan)
    for state in ("progressing", "baking", "succeeded"):
        at, move = make_move(at, state)
        aliases = {"production": 1} if state == "succeeded" else {}
        client.delivery.advance_rollout(at, move, traffic=None, aliases=aliases)
    assert "succeeded: override: the label was wrong" in client.registry.alias_history("churn")[0].reason


def test_rollout_ends_however_long_its_target_says_why(client: Client, make_rollout, make_move) -> None:
    client.registry.set_alias("churn", "challenger", 1)
    moved, move = make_move(client.delivery.create_rollout(make_rollout("r1")), "rolling_back")
    moved = msgspec.structs.replace(moved, reason="a traceback " * 10_000)
    client.delivery.advance_rollout(moved, move, traffic=None)
    back, last = make_move(moved, "rolled_back")
    client.delivery.advance_rollout(back, last, traffic=None, withdrawn={"challenger": 1})
    assert client.delivery.current_rollout("churn", "production") is None
    assert "rolled_back: a traceback" in client.registry.alias_history("churn")[0].reason


def test_nothing_of_a_move_is_written_when_a_part_fails(client: Client, make_rollout, make_move) -> None:
    rollout = client.delivery.create_rollout(make_rollout("r1"))
    moved, move = make_move(rollout, "progressing", step=0)
    before = client.events.list_events()
    for other in (2, 9):  # an alias follows the rollout's own version: no other was admitted
        with pytest.raises(InvalidInput, match="version 1"):
            client.delivery.advance_rollout(moved, move, traffic=traffic(1, (1, 1.0)), aliases={"production": other})
    assert client.delivery.get_rollout("r1") == rollout
    assert client.delivery.get_traffic("churn", "production") is None
    assert client.events.list_events() == before


@pytest.mark.parametrize("other", [{"environment": "production"}, {"environment": "Staging"}, {"model": "fraud"}])
def test_a_move_changes_the_traffic_of_its_own_environment_alone(
    client: Client, make_rollout, make_move, other: dict[str, str]
) -> None:
    client.registry.create_release(msgspec.structs.replace(client.registry.get_release("churn", 1), model="fraud"))
    moved, move = make_move(
        client.delivery.create_rollout(make_rollout("r1", environment="staging")), "progressing", step=0
    )
    split = msgspec.structs.replace(traffic(1, (1, 1.0)), **{"environment": "staging", **other})
    with pytest.raises(InvalidInput, match="cannot change the traffic"):
        client.delivery.advance_rollout(moved, move, traffic=split)
    assert client.delivery.list_traffic() == []


def test_a_move_points_the_alias_of_another_environment_only_at_what_that_admits(
    client: Client, make_rollout, make_move
) -> None:
    client.registry.declare_environments("churn", {"staging": 0, "production": 1}, may_loosen=True)
    plan = msgspec.structs.replace(make_rollout("r1", environment="staging"), override_reason="now")
    at = client.delivery.create_rollout(plan)
    moved, move = make_move(at, "progressing", step=0)
    for alias in ("production", "Production", "champion"):
        with pytest.raises((PermissionDenied, GateFailed)):
            client.delivery.advance_rollout(moved, move, traffic=None, aliases={alias: 1})
    assert client.registry.list_aliases("churn") == {}
    client.delivery.advance_rollout(moved, move, traffic=None, aliases={"staging": 1})


def test_second_of_two_deciders_loses(client: Client, make_rollout, make_move) -> None:
    rollout = client.delivery.create_rollout(make_rollout("r1"))
    moved, move = make_move(rollout, "progressing", step=0)
    other, other_move = make_move(rollout, "rolling_back")
    client.delivery.advance_rollout(moved, move, traffic=None)
    with pytest.raises(Conflict, match="decided on an older one"):
        client.delivery.advance_rollout(other, other_move, traffic=None)
    assert client.delivery.get_rollout("r1") == moved


@pytest.mark.parametrize("state", ["succeeded", "rolled_back", "baking", "pending"])
def test_illegal_move_is_refused(client: Client, make_rollout, make_move, state: RolloutState) -> None:
    rollout = client.delivery.create_rollout(make_rollout("r1"))
    assert state not in LEGAL_MOVES["pending"]
    moved, move = make_move(rollout, state)
    with pytest.raises(Conflict, match=f"cannot go from pending to {state}"):
        client.delivery.advance_rollout(moved, move, traffic=None)


def test_move_must_lead_to_the_stored_rollout(client: Client, make_rollout, make_move) -> None:
    rollout = client.delivery.create_rollout(make_rollout("r1"))
    moved, move = make_move(rollout, "progressing", step=0)
    with pytest.raises(InvalidInput, match="does not lead"):
        client.delivery.advance_rollout(msgspec.structs.replace(moved, step=1), move, traffic=None)
    with pytest.raises(InvalidInput, match="cannot change version"):
        client.delivery.advance_rollout(msgspec.structs.replace(moved, version=2), move, traffic=None)


def test_environment_has_one_unfinished_rollout(client: Client, make_rollout) -> None:
    client.delivery.create_rollout(make_rollout("r1"))
    with pytest.raises(Conflict, match="unfinished rollout of churn@1") as refused:
        client.delivery.create_rollout(make_rollout("r2", version=2))
    assert refused.value.hint is not None
    client.delivery.create_rollout(make_rollout("elsewhere", environment="staging"))


def test_new_rollout_supersedes_an_unfinished_one(client: Client, make_rollout) -> None:
    client.delivery.create_rollout(make_rollout("r1"))
    second = client.delivery.create_rollout(make_rollout("r2", version=2), supersede=True)
    first = client.delivery.get_rollout("r1")
    assert (first.state, first.revision) == ("superseded", 1)
    assert client.delivery.list_transitions("r1")[0].evidence == {"rollout_id": "r2"}
    assert client.delivery.current_rollout("churn", "production") == second


def test_rollout_that_rolls_back_is_not_superseded(client: Client, make_rollout, make_move) -> None:
    rollout = client.delivery.create_rollout(make_rollout("r1"))
    moved, move = make_move(rollout, "rolling_back")
    client.delivery.advance_rollout(moved, move, traffic=None)
    with pytest.raises(Conflict):
        client.delivery.create_rollout(make_rollout("r2", version=2), supersede=True)


def test_rollout_needs_a_version_and_a_fresh_start(client: Client, make_rollout) -> None:
    with pytest.raises(NotFound):
        client.delivery.create_rollout(make_rollout("r1", version=9))
    with pytest.raises(InvalidInput):
        client.delivery.create_rollout(msgspec.structs.replace(make_rollout("r1"), state="baking"))
    rollout = client.delivery.create_rollout(make_rollout("r1"))
    with pytest.raises(AlreadyExists):
        client.delivery.create_rollout(rollout, supersede=True)


def test_traffic_only_goes_forward(client: Client, make_rollout, make_move) -> None:
    rollout = client.delivery.create_rollout(make_rollout("r1"))
    moved, move = make_move(rollout, "progressing", step=0)
    client.delivery.advance_rollout(moved, move, traffic=traffic(5, (1, 1.0)))
    baking, second = make_move(moved, "baking")
    with pytest.raises(Conflict, match="revision 5 already"):
        client.delivery.advance_rollout(baking, second, traffic=traffic(5, (1, 1.0)))
    for shares in [(0.5,), (1.5, -0.5), ()]:
        split = traffic(6, *((1, share) for share in shares))
        with pytest.raises(InvalidInput, match="add up to 1"):
            client.delivery.advance_rollout(baking, second, traffic=split)


def test_rollouts_are_listed_newest_first(client: Client, make_rollout, make_move) -> None:
    for number, environment in enumerate(["production", "staging"]):
        rollout = msgspec.structs.replace(make_rollout(f"r{number}", environment=environment), created_at=number)
        client.delivery.create_rollout(rollout)
    assert [item.rollout_id for item in client.delivery.list_rollouts("churn")] == ["r1", "r0"]
    assert [item.rollout_id for item in client.delivery.list_rollouts("churn", "production")] == ["r0"]
    assert len(client.delivery.list_rollouts("churn", limit=1)) == 1
    assert client.delivery.list_rollouts("other") == []


def test_missing_rollout_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        client.delivery.get_rollout("nothing")
    with pytest.raises(NotFound):
        client.delivery.list_transitions("nothing")
    assert client.delivery.get_traffic("churn", "nowhere") is None


def test_time_in_nanoseconds_is_refused(client: Client, make_rollout, make_move) -> None:
    late = 1_700_000_000_000_000_000
    with pytest.raises(InvalidInput, match="'updated_at' is 17"):
        client.delivery.create_rollout(msgspec.structs.replace(make_rollout("r1"), updated_at=late))
    moved, move = make_move(client.delivery.create_rollout(make_rollout("r1")), "progressing", step=0)
    with pytest.raises(InvalidInput, match="'changed_at' is 17"):
        split = msgspec.structs.replace(traffic(1, (1, 1.0)), changed_at=late)
        client.delivery.advance_rollout(moved, move, traffic=split)
