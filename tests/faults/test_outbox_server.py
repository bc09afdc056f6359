"""A server that goes away and comes back while a script logs to it."""

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.client.outbox.batch import Metrics
from lockgate.client.outbox.outbox import Outbox
from lockgate.client.outbox.segment import Header
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import RunningServer, serve_in_thread

LIMIT_S = 60.0


@contextmanager
def serving(state: Path, database: str = "", *, port: int = 0) -> Iterator[RunningServer]:
    context = open_context(state, user="server", clock=SystemClock(), database=database)
    app = make_app(context)
    try:
        with serve_in_thread(app, port=port) as server:
            yield server
    finally:
        app.close()
        context.close()


@pytest.fixture
def far(tmp_path: Path) -> Iterator[tuple[Client, int]]:
    """A client of a server that was there, and its port."""
    with serving(tmp_path / "state") as server:
        port = server.port
    settings = Settings(uri=f"http://127.0.0.1:{port}")
    with connect(settings, state=Path(), user="ann", clock=SystemClock()) as client:
        yield client, port


def test_server_is_stopped_and_started_again_and_again(
    tmp_path: Path, database_setting: str, far: tuple[Client, int]
) -> None:
    client, port = far
    steps = itertools.count()
    with serving(tmp_path / "state", database_setting, port=port):
        run_id = client.tracking.create_run("0")
    outbox = Outbox(
        tmp_path / "outbox",
        Header(run_id, f"http://127.0.0.1:{port}"),
        client.tracking,
        limit_bytes=1 << 20,
        clock=SystemClock(),
        rng=random.Random(0),
    )
    for _ in range(3):
        for step in itertools.islice(steps, 3000):  # nobody listens
            outbox.append(Metrics(1, step, {"m": 1.0}))
        with serving(tmp_path / "state", database_setting, port=port):
            for step in itertools.islice(steps, 3000):
                outbox.append(Metrics(1, step, {"m": 1.0}))
            outbox.flush(LIMIT_S)
            for step in itertools.islice(steps, 3000):  # some are on their way when it stops
                outbox.append(Metrics(1, step, {"m": 1.0}))
    with serving(tmp_path / "state", database_setting, port=port):
        assert outbox.close(LIMIT_S) is None
        found = sorted(item.step or 0 for item in client.tracking.metric_history(run_id, "m"))
    assert found == list(range(3 * 9000))


def test_server_that_never_comes_back_is_given_up_at_the_end_and_the_files_are_named(
    tmp_path: Path, far: tuple[Client, int]
) -> None:
    client, _ = far
    outbox = Outbox(
        tmp_path / "outbox",
        Header("a" * 32, "http://127.0.0.1:9"),
        client.tracking,
        limit_bytes=1 << 20,
        clock=SystemClock(),
        rng=random.Random(0),
    )
    outbox.append(Metrics(1, 1, {"m": 1.0}))
    remains = outbox.close(0.2)
    assert remains is not None
    assert str(tmp_path / "outbox") in str(remains)
    assert "lockgate runs flush" in str(remains)
    assert len(list((tmp_path / "outbox").iterdir())) == 1
