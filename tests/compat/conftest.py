"""A running server for released clients to talk to."""

import os
from collections.abc import Iterator
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
