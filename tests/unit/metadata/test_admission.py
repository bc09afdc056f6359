"""One rule for whoever comes in: through a rollout, our own alias, or MLflow's."""

from typing import Any

import msgspec
import pytest

from lockgate.entities import (
    Approval,
    Check,
    CheckStatus,
    Content,
    Release,
    Rollout,
    RolloutState,
    RolloutTransition,
    Scalar,
    Verdict,
)
from lockgate.errors import GateFailed, InvalidInput, PermissionDenied
from lockgate.metadata import rollouts
from lockgate.metadata.admission import (
    require_alias_admitted,
    require_alias_follows,
    require_rollout_admitted,
    stage_environment,
)
from lockgate.metadata.approvals import approve
from lockgate.metadata.database import Tx
from lockgate.metadata.environments import declare_environments, list_environments
from lockgate.metadata.events import list_events
from lockgate.metadata.models import ensure_model
from lockgate.metadata.releases import create_release


def release(
    tx: Tx, *, passed: bool | None, status: CheckStatus | None = None, params: dict[str, Scalar] | None = None
) -> int:
    said = status or ("passed" if passed else "failed")
    check = Check(gate="auc", kind="bound", status=said, reason="auc is 0.7")
    verdict = Verdict(passed=bool(passed), checks=(check,), metrics={}, champion_version=None, rows=9, decided_at=1)
    made = Release(
        model="m",
        version=0,
        content=Content(kind="tree", digest="a" * 64, size_bytes=1),
        run_id="",
        created_at=1,
        created_by="me",
        flavor="sklearn",
        params=params or {},
        verdict=None if passed is None else verdict,
    )
    return create_release(tx, made, source="s").version


def rollout(version: int, **more: Any) -> Rollout:
    plan = Rollout(
        rollout_id=f"r{version}",
        model="m",
        environment="production",
        version=version,
        baseline_version=None,
        strategy="replace",
        steps=(100,),
        bake_s=0.0,
        false_rollback_rate=0.01,
        state="pending",
        step=-1,
        revision=0,
        created_at=1,
        created_by="me",
        updated_at=1,
    )
    return msgspec.structs.replace(plan, **more)


def carry_out(tx: Tx, plan: Rollout) -> None:
    """To its success."""
    at = rollouts.create_rollout(tx, plan, supersede=False)
    states: tuple[RolloutState, ...] = ("progressing", "baking", "succeeded")
    for state in states:
        to = msgspec.structs.replace(at, state=state, revision=at.revision + 1, step=0)
        move = RolloutTransition(
            rollout_id=at.rollout_id,
            revision=to.revision,
            from_state=at.state,
            to_state=state,
            step=0,
            at=1,
            by="me",
            reason="",
        )
        at = rollouts.advance_rollout(tx, to, move)


def test_a_refused_version_enters_by_no_door(write) -> None:
    with write() as tx:
        version = release(tx, passed=False)
        declare_environments(tx, "m", {"staging": 0, "production": 0}, may_loosen=False)
        with pytest.raises(GateFailed, match=r"auc is 0\.7"):
            require_rollout_admitted(tx.connection, rollout(version))
        for alias in ("production", "staging", "champion", "challenger", "PRODUCTION", "Staging", "Champion"):
            with pytest.raises(GateFailed, match=r"auc is 0\.7"):
                require_alias_admitted(tx.connection, "m", alias, version)


def test_an_alias_in_capitals_or_not_stands_for_the_environment(write) -> None:
    with write() as tx:
        version = release(tx, passed=True)
        declare_environments(tx, "m", {"Live": 1, "production": 0}, may_loosen=False)
        require_alias_admitted(tx.connection, "m", "production", version)
        for alias in ("Live", "LIVE", "live"):
            with pytest.raises(PermissionDenied):
                require_alias_admitted(tx.connection, "m", alias, version)


def test_a_model_without_releases_takes_any_alias_until_environments_are_declared(write) -> None:
    aliases = ("Champion", "challenger", "PRODUCTION", "production")
    with write() as tx:
        ensure_model(tx, "m")
        for alias in aliases:
            require_alias_admitted(tx.connection, "m", alias, 1)
        declare_environments(tx, "m", {"production": 0}, may_loosen=False)
        for alias in aliases:
            with pytest.raises(GateFailed, match="no gate has judged"):
                require_alias_admitted(tx.connection, "m", alias, 1)


def test_an_override_opens_the_rollout_and_with_its_success_the_alias(write) -> None:
    with write() as tx:
        version = release(tx, passed=False)
        declare_environments(tx, "m", {"production": 0}, may_loosen=False)
        plan = rollout(version, override_reason="the label was wrong")
        require_rollout_admitted(tx.connection, plan)
        carry_out(tx, plan)
        require_alias_admitted(tx.connection, "m", "production", version)
        require_alias_admitted(tx.connection, "m", "champion", version)


def test_an_override_replaces_no_approval(write) -> None:
    with write() as tx:
        version = release(tx, passed=False)
        declare_environments(tx, "m", {"production": 2}, may_loosen=False)
        said = Approval(model="m", version=version, environment="production", approver="bea", approved_at=1)
        approve(tx, said)
        with pytest.raises(PermissionDenied, match="1 missing, approved by bea"):
            require_rollout_admitted(tx.connection, rollout(version, override_reason="now"))
        approve(tx, msgspec.structs.replace(said, approver="cy"))
        require_rollout_admitted(tx.connection, rollout(version, override_reason="now"))


def test_what_was_served_before_may_come_back(write) -> None:
    with write() as tx:
        first, second = release(tx, passed=True), release(tx, passed=True)
        for version in (first, second):
            carry_out(tx, rollout(version))
        declare_environments(tx, "m", {"production": 1}, may_loosen=False)
        back = rollout(first, rollout_id="back", strategy="rollback")
        require_rollout_admitted(tx.connection, back)
        require_alias_admitted(tx.connection, "m", "production", first)
        never = release(tx, passed=False)
        with pytest.raises(GateFailed):
            require_rollout_admitted(tx.connection, msgspec.structs.replace(back, version=never))


def test_the_challenger_needs_its_gates_and_nobody_s_approval(write) -> None:
    with write() as tx:
        version = release(tx, passed=True)
        declare_environments(tx, "m", {"production": 1}, may_loosen=False)
        require_alias_admitted(tx.connection, "m", "challenger", version)
        with pytest.raises(PermissionDenied):
            require_alias_admitted(tx.connection, "m", "champion", version)


def test_without_declared_environments_what_was_never_judged_enters_only_while_nothing_was(write) -> None:
    with write() as tx:
        unjudged = release(tx, passed=None, params={"verdict": 1})
        for alias in ("champion", "production"):
            require_alias_admitted(tx.connection, "m", alias, unjudged)
        refused = release(tx, passed=False)
        require_alias_admitted(tx.connection, "m", "staging", refused)  # nobody said that it is an environment
        for alias in ("champion", "production"):
            with pytest.raises(GateFailed, match="refused by its gates"):
                require_alias_admitted(tx.connection, "m", alias, refused)
            with pytest.raises(GateFailed, match="no gate has judged"):
                require_alias_admitted(tx.connection, "m", alias, unjudged)


def test_where_environments_are_declared_what_was_never_judged_does_not_enter(write) -> None:
    with write() as tx:
        unjudged = release(tx, passed=None)
        declare_environments(tx, "m", {"production": 0}, may_loosen=False)
        with pytest.raises(GateFailed, match="no gate has judged"):
            require_alias_admitted(tx.connection, "m", "champion", unjudged)


def test_a_rollout_begins_at_what_its_environment_has_served(write) -> None:
    with write() as tx:
        first, second = release(tx, passed=True), release(tx, passed=True)
        with pytest.raises(InvalidInput, match="production has never served version 1 of m"):
            require_rollout_admitted(tx.connection, rollout(second, baseline_version=first))
        carry_out(tx, rollout(first))
        require_rollout_admitted(tx.connection, rollout(second, baseline_version=first))


@pytest.mark.parametrize("name", ["latest", "v1", "a.b", "champion", "Challenger", ""])
def test_no_rollout_goes_where_its_alias_could_not(write, name: str) -> None:
    with write() as tx, pytest.raises(InvalidInput):
        rollouts.create_rollout(tx, rollout(release(tx, passed=True), environment=name), supersede=False)


def test_a_rollout_in_capitals_is_held_to_the_environment_of_that_name(write) -> None:
    with write() as tx:
        version = release(tx, passed=True)
        declare_environments(tx, "m", {"Live": 1, "production": 2}, may_loosen=False)
        for name in ("Production", "PRODUCTION", "Live", "LIVE", "live"):
            with pytest.raises(PermissionDenied, match="missing"):
                require_rollout_admitted(tx.connection, rollout(version, environment=name, override_reason="now"))
        require_rollout_admitted(tx.connection, rollout(version, environment="undeclared"))


def test_an_alias_that_follows_a_rollout_opens_no_other_environment(write) -> None:
    with write() as tx:
        version = release(tx, passed=True)
        declare_environments(tx, "m", {"staging": 0, "Live": 1, "production": 2}, may_loosen=False)
        staged = rollout(version, environment="staging")
        carry_out(tx, staged)
        for alias in ("production", "PRODUCTION", "champion", "Champion", "Live", "live"):
            for name in ("staging", "undeclared"):
                with pytest.raises(PermissionDenied, match="missing"):
                    require_alias_follows(tx.connection, msgspec.structs.replace(staged, environment=name), alias)
        for alias in ("staging", "Staging", "challenger", "mine"):
            require_alias_follows(tx.connection, staged, alias)
        for alias in ("production", "champion"):
            require_alias_follows(tx.connection, rollout(version), alias)


def test_who_may_not_loosen_only_tightens(write) -> None:
    with write() as tx:
        declare_environments(tx, "m", {"staging": 0, "production": 2}, may_loosen=False)
        declare_environments(tx, "m", {"canary": 0, "staging": 1, "production": 0}, may_loosen=False)
        known = list_environments(tx.connection, "m")
        assert known == (("canary", 0), ("staging", 1), ("production", 2))
        declare_environments(tx, "m", {"production": 0}, may_loosen=False)
        assert dict(list_environments(tx.connection, "m")) == {"canary": 0, "staging": 1, "production": 2}
        declare_environments(tx, "m", {"production": 0}, may_loosen=True)
        assert list_environments(tx.connection, "m") == (("production", 0),)


@pytest.mark.parametrize(
    "environments",
    [{"staging": 0, "production": 2, "eu": 0}, {"production": 2, "staging": 0}, {"eu": 0}, {"champions": 0}, {}],
)
def test_who_may_not_loosen_leaves_the_champion_to_the_last_environment(write, environments: dict[str, int]) -> None:
    with write() as tx:
        version = release(tx, passed=True)
        declare_environments(tx, "m", {"staging": 0, "production": 2}, may_loosen=False)
        declare_environments(tx, "m", environments, may_loosen=False)
        assert list_environments(tx.connection, "m")[-1] == ("production", 2)
        for alias in ("champion", "production", "PRODUCTION"):
            with pytest.raises(PermissionDenied):
                require_alias_admitted(tx.connection, "m", alias, version)


def test_who_may_not_loosen_frees_no_production_that_nobody_declared(write) -> None:
    with write() as tx:
        refused = release(tx, passed=False)
        declare_environments(tx, "m", {"staging": 0, "live": 1}, may_loosen=False)
        assert list_environments(tx.connection, "m") == (("production", 0), ("staging", 0), ("live", 1))
        with pytest.raises(GateFailed):
            require_alias_admitted(tx.connection, "m", "production", refused)


def test_who_declares_nothing_and_may_not_loosen_changes_nothing(write) -> None:
    with write() as tx:
        release(tx, passed=True)
        assert declare_environments(tx, "m", {}, may_loosen=False) == ()
        assert list_environments(tx.connection, "m") == ()


def test_names_that_differ_in_capitals_alone_are_not_declared_beside_each_other(write) -> None:
    with write() as tx:
        declare_environments(tx, "m", {"production": 2}, may_loosen=False)
        for environments, may_loosen in (({"Production": 0}, False), ({"eu": 0, "EU": 0}, True)):
            with pytest.raises(InvalidInput, match="differ in capitals alone"):
                declare_environments(tx, "m", environments, may_loosen=may_loosen)
        declare_environments(tx, "m", {"Production": 2}, may_loosen=True)
        assert list_environments(tx.connection, "m") == (("Production", 2),)


def test_what_a_declaration_changes_is_told(write) -> None:
    def declare(**environments: int) -> str:
        with write() as tx:
            return ", ".join(map(str, declare_environments(tx, "m", environments, may_loosen=True)))

    assert declare(staging=0, production=2) == "staging: none -> 0, production: none -> 2, champion: none -> 2"
    assert declare(staging=0, production=2) == ""
    assert declare(production=2, staging=0) == "champion: 2 -> 0"
    assert declare(production=0) == "production: 2 -> 0, staging: 0 -> none"
    with write() as tx:
        told = [event for event in list_events(tx.connection, after=0, limit=9) if event.kind != "model.created"]
    assert [event.kind for event in told] == ["environments.declared"] * 3
    assert (told[-1].subject, told[-1].details) == ("m", {"changed": "production: 2 -> 0, staging: 0 -> none"})


@pytest.mark.parametrize("name", ["", "x" * 101, "latest", "v1", "a.b", "prod eu", "champion", "Challenger"])
def test_what_cannot_be_an_environments_alias_is_not_declared(write, name: str) -> None:
    for may_loosen in (False, True):
        with write() as tx, pytest.raises(InvalidInput):
            declare_environments(tx, "m", {name: 0}, may_loosen=may_loosen)


@pytest.mark.parametrize("approvals", [-1, 21, 1001])
def test_nonsense_is_not_declared(write, approvals: int) -> None:
    with write() as tx, pytest.raises(InvalidInput, match="production asks for 0 to 20 approvals"):
        declare_environments(tx, "m", {"production": approvals}, may_loosen=True)


def test_a_verdict_does_not_pass_what_a_gate_refused(write) -> None:
    with write() as tx, pytest.raises(InvalidInput, match="gates refused: auc"):
        release(tx, passed=True, status="failed")


def test_a_stage_stands_for_the_environment_of_its_name(write) -> None:
    with write() as tx:
        declare_environments(tx, "m", {"production": 0}, may_loosen=False)
        assert stage_environment(tx.connection, "m", "PRODUCTION") == "production"
        assert stage_environment(tx.connection, "m", "Staging") is None
