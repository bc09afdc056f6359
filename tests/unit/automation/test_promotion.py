"""What goes into an environment by itself, and above all what does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.automation.promotion import automatic_environments, promote
from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.delivery.advance import drive
from lockgate.delivery.rollback import rollback
from lockgate.entities import Content, Observation, Release, Rollout, Traffic, Verdict
from lockgate.project import Environment, Folder, Project
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport

STAGING, PRODUCTION = "staging", "production"


class Replicas:
    """A target whose one replica loads every content but those in `broken`."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.traffic: Traffic | None = None
        self.broken: set[str] = set()

    def apply(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def observe(self) -> tuple[Observation, ...]:
        if self.traffic is None:
            return ()
        ready = not self.broken & {share.digest for share in self.traffic.shares}
        now = self.clock.now_ms()
        return (Observation(replica="a", revision=self.traffic.revision, observed_at=now, ready=ready, counters=()),)


class Workplace:
    """Staging and production take whatever passed; version N has the content `contents[N - 1]`."""

    def __init__(self, root: Path, contents: str) -> None:
        self.clock = FakeClock()
        environments = {STAGING: Environment(promote="automatic"), PRODUCTION: Environment(promote="automatic")}
        self.folder = Folder(root, Project(model="churn", task="regression", environments=environments))
        transport = LocalTransport(open_context(self.folder.state, user="ann", clock=self.clock))
        self.client = Client(transport, self.clock)
        self.target = Replicas(self.clock)
        for content in contents:
            self.release(content * 64)

    def release(self, digest: str) -> None:
        self.clock.sleep(1.0)
        verdict = Verdict(
            passed=True, checks=(), metrics={}, champion_version=None, rows=9, decided_at=self.clock.now_ms()
        )
        self.client.registry.create_release(
            Release(
                model="churn",
                version=0,
                content=Content(kind="tree", digest=digest, size_bytes=1),
                run_id="",
                created_at=self.clock.now_ms(),
                created_by="ann",
                flavor="sklearn",
                verdict=verdict,
            )
        )

    def promote(self, version: int, environment: str = STAGING) -> Rollout | str:
        self.clock.sleep(1.0)
        return promote(self.folder, self.client, version=version, environment=environment, by="up", clock=self.clock)

    def serve(self, version: int) -> Rollout:
        begun = self.promote(version)
        assert isinstance(begun, Rollout)
        return drive(self.client, self.target, begun, clock=self.clock, by="up", production=PRODUCTION, poll_s=1.0)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    place = Workplace(tmp_path, "abca")
    yield place
    place.client.close()


def test_environments_come_in_the_order_of_the_file(place: Workplace) -> None:
    assert automatic_environments(place.folder) == [STAGING, PRODUCTION]


def test_a_rollout_is_begun_once_however_often_one_asks(place: Workplace) -> None:
    begun = place.promote(1)
    assert isinstance(begun, Rollout)
    assert place.promote(1) == begun
    assert place.promote(2) == "busy"


def test_what_is_served_is_not_begun_again(place: Workplace) -> None:
    place.serve(1)
    assert place.promote(1) == "succeeded"
    place.serve(2)
    assert place.promote(1) == "succeeded"


def test_what_was_rolled_back_does_not_come_back_by_itself(place: Workplace) -> None:
    place.serve(1)
    place.target.broken = {"b" * 64}
    assert place.serve(2).state == "rolled_back"
    assert place.promote(2) == "rolled_back"


def test_what_was_left_by_hand_does_not_come_back_by_itself(place: Workplace) -> None:
    place.serve(1)
    place.serve(2)
    place.clock.sleep(1.0)
    rollback(
        place.client,
        place.target,
        model="churn",
        environment=STAGING,
        by="ann",
        reason="complaints",
        clock=place.clock,
        production=PRODUCTION,
    )
    assert place.promote(2) == "rolled_back"
    assert place.promote(1) == "succeeded"


def test_nor_does_the_same_content_under_another_number(place: Workplace) -> None:
    place.target.broken = {"a" * 64}
    assert place.serve(1).state == "rolled_back"
    place.target.broken = set()
    place.serve(2)
    assert place.promote(4) == "rolled_back"
    assert isinstance(place.promote(3), Rollout)


def test_what_failed_elsewhere_is_another_environments_business(place: Workplace) -> None:
    place.target.broken = {"a" * 64}
    place.serve(1)
    assert isinstance(place.promote(1, PRODUCTION), Rollout)
