"""A project with its records, and replicas that do what they are told."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.delivery.advance import drive
from lockgate.delivery.deploy import deploy
from lockgate.entities import Check, Content, Observation, Release, Rollout, Traffic, Verdict, VersionCounters
from lockgate.project import Environment, Folder, Project, Promote
from lockgate.project import Rollout as RolloutPlan
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport


class Replicas:
    """A target whose one replica takes every traffic at once; versions in `failing` err, in `broken` do not load."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.traffic: Traffic | None = None
        self.requests = 500  # that each version has counted
        self.failing: set[int] = set()
        self.broken: set[int] = set()

    def apply(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def observe(self) -> tuple[Observation, ...]:
        if self.traffic is None:
            return ()
        counters = tuple(
            VersionCounters(
                version=share.version,
                requests=self.requests,
                errors=self.requests if share.version in self.failing else 0,
            )
            for share in self.traffic.shares
        )
        ready = not self.broken & {share.version for share in self.traffic.shares}
        seen = Observation(
            replica="a",
            revision=self.traffic.revision,
            observed_at=self.clock.now_ms(),
            ready=ready,
            counters=counters,
        )
        return (seen,)


class Workplace:
    """Versions 1 and 2 passed their gates, 3 was refused."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        environments = {
            "staging": Environment(promote="automatic"),
            "production": Environment(
                promote=Promote(approvals=1),
                rollout=RolloutPlan(strategy="canary", steps=(5, 100), bake="10s", min_requests=10),
            ),
        }
        self.folder = Folder(root, Project(model="churn", task="regression", environments=environments))
        transport = LocalTransport(open_context(self.folder.state, user="ann", clock=self.clock))
        self.client = Client(transport, self.clock)
        self.target = Replicas(self.clock)
        for passed in (True, True, False):
            self.release(passed=passed)

    def release(self, *, passed: bool) -> Release:
        check = Check(gate="auc >= 0.8", kind="bound", status="passed" if passed else "failed", reason="auc is 0.7")
        made = len(self.client.registry.list_releases("churn"))
        verdict = Verdict(passed=passed, checks=(check,), metrics={}, champion_version=None, rows=9, decided_at=1)
        return self.client.registry.create_release(
            Release(
                model="churn",
                version=0,
                content=Content(kind="tree", digest=f"{made + 1:064x}", size_bytes=1),
                run_id="",
                created_at=self.clock.now_ms(),
                created_by="ann",
                flavor="sklearn",
                commit="c" * 40,
                verdict=verdict,
            )
        )

    def plan(self, environment: str, rollout: RolloutPlan) -> None:
        """Another way of replacing what an environment serves."""
        self._edit(environment, rollout=rollout)

    def ask_approvals(self, environment: str, approvals: int) -> None:
        self._edit(environment, promote=Promote(approvals=approvals))

    def _edit(self, environment: str, **values: object) -> None:
        project = self.folder.project
        planned = msgspec.structs.replace(project.environments[environment], **values)
        environments = {**project.environments, environment: planned}
        self.folder = Folder(self.folder.root, msgspec.structs.replace(project, environments=environments))

    def begin(self, version: int, environment: str = "staging", **options: object) -> Rollout:
        self.clock.sleep(1.0)
        return deploy(
            self.folder,
            self.client,
            model="churn",
            version=version,
            environment=environment,
            by="ann",
            clock=self.clock,
            **options,  # type: ignore[arg-type]
        )

    def drive(self, rollout: Rollout) -> Rollout:
        return drive(self.client, self.target, rollout, clock=self.clock, by="ann", production="production", poll_s=1.0)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    place = Workplace(tmp_path)
    yield place
    place.client.close()
