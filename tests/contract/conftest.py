"""One client suite, two transports (in this process, and over HTTP to a real server) and two databases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.entities import Content, Release, Rollout, RolloutState, RolloutTransition
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["local", "http"])
def client(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock, database_setting: str) -> Iterator[Client]:
    state = tmp_path / "state"
    if request.param == "local":
        with connect(Settings(database=database_setting), state=state, user="ann", clock=clock) as found:
            yield found
        return
    context = open_context(state, user="server", clock=clock, database=database_setting)
    app = make_app(context)
    with (
        serve_in_thread(app) as server,
        connect(Settings(uri=server.url), state=tmp_path / "unused", user="ann", clock=clock) as found,
    ):
        yield found
    app.close()
    context.close()


def _release(*, digest: str = "a" * 64, model: str = "churn") -> Release:
    content = Content(kind="tree", digest=digest, size_bytes=10, files=2)
    return Release(
        model=model, version=0, content=content, run_id="r" * 32, created_at=5, created_by="ann", flavor="sklearn"
    )


def _rollout(rollout_id: str, *, version: int = 1, environment: str = "production") -> Rollout:
    return Rollout(
        rollout_id=rollout_id,
        model="churn",
        environment=environment,
        version=version,
        baseline_version=None,
        strategy="canary",
        steps=(5, 100),
        bake_s=60.0,
        false_rollback_rate=0.01,
        state="pending",
        step=-1,
        revision=0,
        created_at=1,
        created_by="ann",
        updated_at=1,
    )


def _move(rollout: Rollout, to: RolloutState, *, step: int | None = None) -> tuple[Rollout, RolloutTransition]:
    """The rollout after a move, and the move."""
    moved = msgspec.structs.replace(
        rollout, state=to, revision=rollout.revision + 1, step=rollout.step if step is None else step
    )
    transition = RolloutTransition(
        rollout_id=rollout.rollout_id,
        revision=moved.revision,
        from_state=rollout.state,
        to_state=to,
        step=moved.step,
        at=2,
        by="ann",
        reason="because",
        evidence={"requests": 100},
    )
    return moved, transition


@pytest.fixture
def make_release() -> Callable[..., Release]:
    return _release


@pytest.fixture
def make_rollout() -> Callable[..., Rollout]:
    return _rollout


@pytest.fixture
def make_move() -> Callable[..., tuple[Rollout, RolloutTransition]]:
    return _move
