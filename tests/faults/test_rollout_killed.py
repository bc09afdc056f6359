"""kill -9 of the process that drives a rollout, at many moments: the next driver brings it to its end."""

import os
import random
import signal
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.delivery.advance import drive
from lockgate.delivery.deploy import deploy
from lockgate.delivery.rollout import is_finished
from lockgate.delivery.targets.local import LocalTarget
from lockgate.entities import LEGAL_MOVES, Content, Observation, Release, Rollout, Verdict, VersionCounters
from lockgate.project import Environment, Folder, Project
from lockgate.project import Rollout as RolloutPlan
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.serving.traffic import read_traffic, write_observation

CLOCK = SystemClock()
MODEL, PRODUCTION = "churn", "production"
PLAN = RolloutPlan(strategy="canary", steps=(20, 60, 100), bake="40ms", min_requests=10)


def open_client(state: Path, database: str) -> Client:
    return Client(LocalTransport(open_context(state, user="ann", clock=CLOCK, database=database)), CLOCK)


def start_driver(state: Path, database: str, rollout: Rollout) -> int:
    """A process of its own that drives the rollout; its id."""
    process = os.fork()
    if process == 0:
        try:
            target = LocalTarget(state, PRODUCTION)
            client = open_client(state, database)
            drive(client, target, rollout, clock=CLOCK, by="driver", production=PRODUCTION, poll_s=0.005)
        finally:
            os._exit(0)
    return process


def report(folder: Path) -> None:
    """What a healthy replica would write now."""
    traffic = read_traffic(folder)
    if traffic is not None:
        counters = tuple(VersionCounters(version=share.version, requests=50, errors=0) for share in traffic.shares)
        observation = Observation(
            replica="a", revision=traffic.revision, observed_at=CLOCK.now_ms(), ready=True, counters=counters
        )
        write_observation(folder, observation)


@pytest.fixture
def folder(tmp_path: Path, database_setting: str) -> Folder:
    project = Project(model=MODEL, task="regression", environments={PRODUCTION: Environment(rollout=PLAN)})
    folder = Folder(tmp_path, project)
    with open_client(folder.state, database_setting) as client:
        for digest in ("a" * 64, "b" * 64):
            verdict = Verdict(passed=True, checks=(), metrics={}, champion_version=None, rows=1, decided_at=1)
            client.registry.create_release(
                Release(
                    model=MODEL,
                    version=0,
                    content=Content(kind="tree", digest=digest, size_bytes=1),
                    run_id="",
                    created_at=1,
                    created_by="ann",
                    flavor="sklearn",
                    verdict=verdict,
                )
            )
        first = deploy(folder, client, model=MODEL, version=1, environment=PRODUCTION, by="ann", clock=CLOCK)
        target = LocalTarget(folder.state, PRODUCTION)
        drive(client, target, first, clock=CLOCK, by="ann", production=PRODUCTION, poll_s=0.001)
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_a_rollout_survives_the_death_of_its_drivers(folder: Folder, database_setting: str, seed: int) -> None:
    rng = random.Random(seed)
    serving = folder.state / "serving" / PRODUCTION
    with open_client(folder.state, database_setting) as client:
        rollout = deploy(folder, client, model=MODEL, version=2, environment=PRODUCTION, by="ann", clock=CLOCK)
    deaths = 0
    while True:
        driver = start_driver(folder.state, database_setting, rollout)
        kill_at = CLOCK.monotonic() + (rng.uniform(0.01, 0.12) if deaths < 5 else 20)
        while os.waitpid(driver, os.WNOHANG) == (0, 0):
            report(serving)
            if CLOCK.monotonic() > kill_at:
                os.kill(driver, signal.SIGKILL)
                os.waitpid(driver, 0)
                deaths += 1
                break
            CLOCK.sleep(0.002)
        with open_client(folder.state, database_setting) as client:
            now = client.delivery.get_rollout(rollout.rollout_id)
        if is_finished(now):
            break
    with open_client(folder.state, database_setting) as client:
        assert now.state == "succeeded"
        transitions = client.delivery.list_transitions(rollout.rollout_id)
        assert [move.to_state for move in transitions] == [*["progressing", "baking"] * 3, "succeeded"]
        assert all(move.to_state in LEGAL_MOVES[move.from_state] for move in transitions)
        # The last driver may have died between the transaction and the file: the next look publishes it.
        drive(client, LocalTarget(folder.state, PRODUCTION), now, clock=CLOCK, by="ann", production=PRODUCTION)
        assert read_traffic(serving) == client.delivery.get_traffic(MODEL, PRODUCTION)
        assert client.registry.list_aliases(MODEL) == {PRODUCTION: 2, "champion": 2}
