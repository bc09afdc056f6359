"""A running server for released clients to talk to."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.server.app import make_app
from lockgate.server.context import Context, open_context
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread

# Before anything imports mlflow: a test run calls nobody.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"  # an error of ours shows at once, not after minutes of retries

FULL_MLFLOW = Path(__file__).parents[2] / ".venv-mlflow" / "bin" / "python"
START_LIMIT_S = 120.0


@dataclass(frozen=True)
class Served:
    """A server and, behind its back, its records."""

    url: str
    context: Context
    client: Client


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
def served(tmp_path: Path, settings: Settings, database_setting: str) -> Iterator[Served]:
    context = open_context(
        tmp_path / "state",
        user="tester",
        clock=SystemClock(),
        artifacts=settings.artifacts,
        database=database_setting,
    )
    context = context.configured(settings)
    app = make_app(context, settings=settings)
    app.cleaned.result()  # the stand-in for S3 says of every upload that it began in 2010
    with serve_in_thread(app) as server:
        yield Served(server.url, context, Client(LocalTransport(context), SystemClock()))
    app.close()
    context.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, module_database_setting: str) -> Iterator[str]:
    """One server for all tests of a module: starting it takes longer than asking it."""
    state = tmp_path_factory.mktemp("state")
    context = open_context(state, user="tester", clock=SystemClock(), database=module_database_setting)
    app = make_app(context)
    with serve_in_thread(app) as server:
        yield server.url
    app.close()
    context.close()


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    """The released MlflowClient on our server; the fluent functions go there as well."""
    mlflow = pytest.importorskip("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(served.url)
    mlflow.set_registry_uri(served.url)
    mlflow.set_experiment(experiment_id="0")
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_registry_uri("")
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="session")
def mlflow_python() -> str:
    """Of an environment with the full mlflow package, with scikit-learn, XGBoost and LightGBM; never our own."""
    found = os.environ.get("LOCKGATE_TEST_MLFLOW_PYTHON", str(FULL_MLFLOW))
    wanted = "import mlflow.server.handlers, flask, uvicorn, sklearn, xgboost, lightgbm"
    if not Path(found).exists() or subprocess.run([found, "-c", wanted], capture_output=True, check=False).returncode:
        pytest.skip(
            f"{found} has not the full mlflow package with what it trains: scripts/setup-mlflow makes it; "
            "LOCKGATE_TEST_MLFLOW_PYTHON names another Python"
        )
    return found


@dataclass(frozen=True)
class Peer:
    """A real `mlflow server`, with its database and files in `folder`."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def start_peers(mlflow_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], list[Peer]]]:
    """Starts that many at once, because each takes many seconds, and returns when all answer."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(count: int) -> list[Peer]:
        peers = []
        for _ in range(count):
            folder = tmp_path_factory.mktemp("peer")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            command = [mlflow_python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
            stores = [
                "--backend-store-uri",
                f"sqlite:///{folder}/mlflow.db",
                "--artifacts-destination",
                f"{folder}/files",
            ]
            with (folder / "log").open("wb") as log:
                started = subprocess.Popen(
                    [*command, "--workers", "1", *stores], stdout=log, stderr=log, start_new_session=True
                )
            processes.append(started)
            peers.append(Peer(f"http://127.0.0.1:{port}", folder))
        for peer, process in zip(peers, processes[-count:], strict=True):
            limit = time.monotonic() + START_LIMIT_S
            while not answers(f"{peer.url}/health"):
                assert process.poll() is None and time.monotonic() < limit, (peer.folder / "log").read_text()
                time.sleep(0.2)
        return peers

    yield start
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
