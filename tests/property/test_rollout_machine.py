"""Rollouts under everything at once: random replicas, drivers that die between two writes, and drivers that race."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.delivery.advance import advance
from lockgate.delivery.deploy import deploy
from lockgate.delivery.rollback import rollback
from lockgate.entities import (
    LEGAL_MOVES,
    Check,
    Content,
    Observation,
    Release,
    Rollout,
    Traffic,
    Verdict,
    VersionCounters,
)
from lockgate.errors import AlreadyExists, Conflict, GateFailed, NotFound
from lockgate.project import Environment, Folder, Project
from lockgate.project import Rollout as RolloutPlan
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport

MODEL = "churn"
PRODUCTION = "production"
PLAN = RolloutPlan(strategy="canary", steps=(5, 25, 100), bake="10s", min_requests=50, false_rollback_rate=0.01)


class Killed(BaseException):
    """The driver's process is gone."""


class MemoryTarget:
    """Replicas in memory. `dies` kills the driver when it publishes."""

    def __init__(self) -> None:
        self.published: Traffic | None = None
        self.observations: tuple[Observation, ...] = ()
        self.dies = False

    def apply(self, traffic: Traffic) -> None:
        if self.dies and traffic != self.published:
            self.dies = False
            raise Killed
        if self.published is None or traffic.revision >= self.published.revision:
            self.published = traffic

    def observe(self) -> tuple[Observation, ...]:
        return self.observations


class Stale:
    """A client whose reads of the rollout are old: the second of two drivers that race."""

    def __init__(self, client: Client, rollout: Rollout) -> None:
        self.registry, self.monitoring, self._delivery, self._rollout = (
            client.registry,
            client.monitoring,
            client.delivery,
            rollout,
        )
        self.delivery = self

    def get_rollout(self, rollout_id: str) -> Rollout:
        rollout, self._rollout = self._rollout, self._delivery.get_rollout(rollout_id)
        return rollout

    def __getattr__(self, name: str) -> object:
        return getattr(self._delivery, name)


class Rollouts(RuleBasedStateMachine):
    """`empty` gives the setting `database` of an installation without records."""

    def __init__(self, empty: Callable[[], str]) -> None:
        super().__init__()
        self.empty = empty

    @initialize()
    def start(self) -> None:
        self.state = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        context = open_context(self.state, user="ann", clock=self.clock, database=self.empty())
        self.client = Client(LocalTransport(context), self.clock)
        self.folder = Folder(
            self.state,
            Project(model=MODEL, task="regression", environments={PRODUCTION: Environment(rollout=PLAN)}),
        )
        self.target = MemoryTarget()
        self.ended: dict[str, Rollout] = {}
        for _ in range(3):
            self.release(passed=True)
        deploy(self.folder, self.client, model=MODEL, version=1, environment=PRODUCTION, by="ann", clock=self.clock)
        self.live_for_a_while(rounds=4, broken=False, dies=False)

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()
            shutil.rmtree(self.state)

    @rule(passed=st.booleans())
    def release(self, passed: bool) -> None:
        made = len(self.client.registry.list_releases(MODEL))
        check = Check(gate="g", kind="bound", status="passed" if passed else "failed", reason="r")
        verdict = Verdict(
            passed=passed, checks=(check,), metrics={}, champion_version=None, rows=1, decided_at=self.clock.now_ms()
        )
        self.client.registry.create_release(
            Release(
                model=MODEL,
                version=0,
                content=Content(kind="tree", digest=f"{made + 1:064x}", size_bytes=1),
                run_id="",
                created_at=self.clock.now_ms(),
                created_by="ann",
                flavor="sklearn",
                verdict=verdict,
            )
        )

    @rule(data=st.data(), override=st.booleans(), supersede=st.sampled_from([False, False, False, True]))
    def begin(self, data: st.DataObject, override: bool, supersede: bool) -> None:
        versions = len(self.client.registry.list_releases(MODEL))
        version = data.draw(st.integers(1, versions))
        with contextlib.suppress(AlreadyExists, Conflict, GateFailed):
            deploy(
                self.folder,
                self.client,
                model=MODEL,
                version=version,
                environment=PRODUCTION,
                by="ann",
                clock=self.clock,
                override_reason="we know" if override else None,
                supersede=supersede,
            )

    @rule(
        seconds=st.sampled_from([0, 1, 11]),
        requests=st.integers(0, 200),
        error_share=st.sampled_from([0.0, 0.0, 0.01, 1.0]),
        ready=st.sampled_from([True, True, True, False]),
        lag=st.sampled_from([0, 0, 1]),
    )
    def replicas_report(self, seconds: int, requests: int, error_share: float, ready: bool, lag: int) -> None:
        self.clock.sleep(seconds)
        published = self.target.published
        if published is None:
            return
        counters = tuple(
            VersionCounters(version=share.version, requests=n, errors=int(n * error_share if share.share < 1 else 0))
            for share in published.shares
            for n in [round(requests * share.share)]
        )
        self.target.observations = (
            Observation(
                replica="a",
                revision=published.revision - lag,
                observed_at=self.clock.now_ms(),
                ready=ready,
                counters=counters,
            ),
        )

    @rule(rounds=st.integers(1, 9), broken=st.sampled_from([False, False, True]), dies=st.booleans())
    def live_for_a_while(self, rounds: int, broken: bool, dies: bool) -> None:
        """Replicas report and the driver looks, again and again: what brings a rollout to its end."""
        for _ in range(rounds):
            self.replicas_report(seconds=11, requests=2000, error_share=1.0 if broken else 0.0, ready=True, lag=0)
            self.drive(dies=dies)

    @rule(dies=st.booleans())
    def drive(self, dies: bool) -> None:
        rollout = self.current()
        if rollout is None:
            return
        self.target.dies = dies
        with contextlib.suppress(Killed):
            advance(self.client, self.target, rollout, self.clock.now_ms(), "one", production=PRODUCTION)
        self.target.dies = False

    @rule()
    def race(self) -> None:
        rollout = self.current()
        if rollout is None:
            return
        stale = Stale(self.client, rollout)
        advance(self.client, self.target, rollout, self.clock.now_ms(), "one", production=PRODUCTION)
        advance(stale, self.target, rollout, self.clock.now_ms(), "two", production=PRODUCTION)  # type: ignore[arg-type]

    @precondition(lambda self: self.client.delivery.list_rollouts(MODEL))
    @rule(dies=st.booleans())
    def roll_back(self, dies: bool) -> None:
        self.target.dies = dies
        with contextlib.suppress(Killed, NotFound, Conflict):
            rollback(
                self.client,
                self.target,
                model=MODEL,
                environment=PRODUCTION,
                by="ann",
                reason="asked",
                clock=self.clock,
                production=PRODUCTION,
            )
        self.target.dies = False

    def current(self) -> Rollout | None:
        return self.client.delivery.current_rollout(MODEL, PRODUCTION)

    @invariant()
    def every_transition_was_legal_and_is_recorded(self) -> None:
        for rollout in self.client.delivery.list_rollouts(MODEL, limit=100):
            transitions = self.client.delivery.list_transitions(rollout.rollout_id)
            assert [move.revision for move in transitions] == list(range(1, rollout.revision + 1))
            state = "pending"
            for transition in transitions:
                assert transition.from_state == state
                assert transition.to_state in LEGAL_MOVES[state]
                assert transition.reason
                state = transition.to_state
            assert rollout.state == state

    @invariant()
    def finished_rollouts_stay_as_they_are(self) -> None:
        for rollout in self.client.delivery.list_rollouts(MODEL, limit=100):
            assert self.ended.get(rollout.rollout_id, rollout) == rollout
            if not LEGAL_MOVES[rollout.state]:
                self.ended[rollout.rollout_id] = rollout

    @invariant()
    def shares_add_up_and_name_versions_that_exist(self) -> None:
        decided = self.client.delivery.get_traffic(MODEL, PRODUCTION)
        for traffic in (decided, self.target.published):
            if traffic is None:
                continue
            assert abs(sum(share.share for share in traffic.shares) - 1) < 1e-9
            for share in traffic.shares:
                release = self.client.registry.get_release(MODEL, share.version)
                assert release.content.digest == share.digest
        if self.target.published is not None:
            assert decided is not None and self.target.published.revision <= decided.revision

    @invariant()
    def the_champion_passed_or_was_overridden_and_serves(self) -> None:
        champion = self.client.registry.get_alias(MODEL, "champion")
        if champion is None:
            return
        release = self.client.registry.get_release(MODEL, champion)
        rollouts = self.client.delivery.list_rollouts(MODEL, limit=100)
        overridden = any(r.version == champion and r.override_reason and r.state == "succeeded" for r in rollouts)
        assert release.verdict is not None
        assert release.verdict.passed or overridden
        newest = next(r for r in rollouts if r.state == "succeeded")
        assert newest.version == champion

    @invariant()
    def at_most_one_rollout_is_unfinished(self) -> None:
        unfinished = [r for r in self.client.delivery.list_rollouts(MODEL, limit=100) if LEGAL_MOVES[r.state]]
        assert len(unfinished) <= 1


FEW = settings(max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_rollouts_keep_their_promises_in_sqlite() -> None:
    run_state_machine_as_test(lambda: Rollouts(lambda: ""), settings=FEW)


def test_rollouts_keep_their_promises_in_postgresql(empty_postgres: Callable[[], str]) -> None:
    run_state_machine_as_test(lambda: Rollouts(empty_postgres), settings=FEW)
