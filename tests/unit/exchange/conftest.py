"""A source with something of every kind, served over HTTP, and an empty target."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.client.http import HttpTransport
from lockgate.client.transport import Transport
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.exchange.copy import Report, copy
from lockgate.exchange.destination import AnyServer, Destination, Lockgate
from lockgate.exchange.endpoint import Endpoint
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread
from lockgate.wire.mlflow import experiments, logged_models, registry, runs
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.operation import Operation, Req, Res


class Quiet:
    """A `Progress` that counts."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.items = self.points = 0

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def advance(self, *, items: int = 1, points: int = 0) -> None:
        self.items += items
        self.points += points


Change = Callable[[Operation[Any, Any], Any, Any], Any]  # of (operation, request, answer) into another answer


class Otherwise(HttpTransport):
    """A server that answers some things as this project's never does."""

    def __init__(self, uri: str, change: Change, ended: Event) -> None:
        super().__init__(uri, user="tester")
        self._change, self._ended = change, ended

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        answer: Res = self._change(operation, request, super().call(operation, request))
        return answer

    def end(self) -> None:
        super().end()
        self._ended.set()


Around = Callable[[Operation[Any, Any], Any, Any], Any]  # of (operation, request, the call itself) into the answer


class Through(Transport):
    """To a server, past something that may keep a call from it."""

    def __init__(self, inner: Transport, around: Around) -> None:
        self._inner, self._around = inner, around

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        answer: Res = self._around(operation, request, self._inner.call)
        return answer

    def put_file(self, path: str, local: Path) -> None:
        self._inner.put_file(path, local)

    def get_file(self, path: str, target: Path) -> None:
        self._inner.get_file(path, target)

    def close(self) -> None:
        self._inner.close()


def plainly(operation: Operation[Any, Any], request: Any, call: Any) -> Any:
    return call(operation, request)


def unchanged(operation: Operation[Any, Any], request: Any, answer: Any) -> Any:
    return answer


@dataclass
class Sides:
    """`way` is import or export; the source answers at `url`."""

    way: str
    url: str
    source: Client
    target: Client
    jobs: int = 3
    ended: Event = field(default_factory=Event)  # set when a copy is over before its time

    def copy(
        self, *, prefix: str = "", with_deleted: bool = False, change: Change = unchanged, around: Around = plainly
    ) -> Report:
        transport, target = Otherwise(self.url, change, self.ended), Through(self.target.transport, around)
        destination: Destination = Lockgate(target) if self.way == "import" else AnyServer(target)
        try:
            return copy(
                Endpoint(transport, "the source"),
                Endpoint(target, "the target"),
                destination,
                progress=Quiet(),
                prefix=prefix,
                with_deleted=with_deleted,
                jobs=self.jobs,
            )
        finally:
            transport.close()


@contextmanager
def serving(state: Path, database: str) -> Iterator[tuple[str, Client]]:
    context = open_context(state, user="tester", clock=SystemClock(), database=database)
    app = make_app(context, settings=Settings())
    with serve_in_thread(app) as server:
        yield server.url, Client(LocalTransport(context), SystemClock())
    app.close()
    context.close()


@pytest.fixture(params=["import into sqlite", "import into postgres", "export out of postgres"])
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sides]:
    way, *_, kind = request.param.split()
    ours = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
    into, out_of = (ours, "") if way == "import" else ("", ours)
    target = open_context(tmp_path / "target", user="tester", clock=SystemClock(), database=into)
    with serving(tmp_path / "source", out_of) as (url, source), Client(LocalTransport(target), SystemClock()) as client:
        yield Sides(way, url, source, client)


@dataclass
class Filled:
    """Ids at the source."""

    experiment: str
    parent: str
    child: str
    deleted: str
    logged_model: str


def fill(client: Client, folder: Path) -> Filled:
    """Nested runs, odd numbers, files in folders, a deleted run and experiment, a registry with a gap."""
    call, tracking = client.transport.call, client.tracking
    request = experiments.CreateExperiment(name="café ☕", tags=(Tag(key="team", value="ré"),))
    experiment = call(experiments.CREATE_EXPERIMENT, request).experiment_id
    parent = tracking.create_run(experiment, run_name="parent", tags={"note": "größer", "odd (tag)": "1"})
    odd = ("NaN", "Infinity", "-Infinity", 1e-300)
    points = [runs.Metric(key="odd", value=value, timestamp=5, step=step) for step, value in enumerate(odd)]
    tracking.log_batch(parent, metrics=points, params={"depth": "3", "empty": ""})
    files = folder / "files"
    (files / "deep" / "er").mkdir(parents=True)
    (files / "deep" / "er" / "ü x.txt").write_text("hello")
    (files / "top.bin").write_bytes(bytes(range(256)) * 5000)
    tracking.upload_artifact(parent, files)
    child = tracking.create_run(experiment, run_name="child", tags={"mlflow.parentRunId": parent, "fold": "2"})
    tracking.log_metrics(child, {"acc": 0.5})
    dataset = runs.Dataset(name="rows", digest="d1", source_type="local", source="{}", profile="{}")
    used = runs.DatasetInput(dataset=dataset, tags=(Tag(key="mlflow.data.context", value="training"),))
    call(runs.LOG_INPUTS, runs.LogInputs(run_id=child, datasets=(used,)))
    logged = _log_model(client, experiment, child, folder)
    tracking.finish_run(child, "FAILED", at=1_700_000_000_000)
    deleted = tracking.create_run(experiment, run_name="deleted")
    tracking.log_metrics(deleted, {"m": 1.0})
    call(runs.DELETE_RUN, runs.OfRun(run_id=deleted))
    gone = tracking.ensure_experiment("gone")
    tracking.create_run(gone)
    call(experiments.DELETE_EXPERIMENT, experiments.ExperimentId(experiment_id=gone))
    _register(client, parent, child, logged)
    return Filled(experiment, parent, child, deleted, logged)


def _log_model(client: Client, experiment: str, run_id: str, folder: Path) -> str:
    call = client.transport.call
    request = logged_models.CreateLoggedModel(
        experiment_id=experiment,
        name="net",
        source_run_id=run_id,
        params=(Tag(key="width", value="8"),),
        tags=(Tag(key="kind", value="small"),),
    )
    made = call(logged_models.CREATE_LOGGED_MODEL, request).model.info
    (folder / "MLmodel").write_text("flavors: {}\n")
    client.transport.put_file(f"{made.artifact_uri.removeprefix('mlflow-artifacts:/')}/MLmodel", folder / "MLmodel")
    ready = logged_models.FinalizeLoggedModel(model_id=made.model_id, status="LOGGED_MODEL_READY")
    call(logged_models.FINALIZE_LOGGED_MODEL, ready)
    measured = runs.Metric(
        key="acc", value=0.75, timestamp=9, step=1, model_id=made.model_id, dataset_name="rows", dataset_digest="d1"
    )
    client.tracking.log_batch(run_id, metrics=[measured])
    outputs = (runs.ModelOutput(model_id=made.model_id, step=1),)
    call(runs.LOG_OUTPUTS, runs.LogOutputs(run_id=run_id, models=outputs))
    return made.model_id


def _register(client: Client, parent: str, child: str, logged: str) -> None:
    """churn 1 and 3, a copy of churn 3 in an earlier name, and a prompt."""
    call = client.transport.call
    tags = (Tag(key="owner", value="ann"),)
    call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="churn", description="who leaves", tags=tags))
    root = client.tracking.get_run(parent).info.artifact_uri
    made_of = (
        (f"models:/{logged}", child, logged),
        (f"{root}/deep", parent, None),
        (f"runs:/{parent}/deep", parent, None),
    )
    for source, run_id, model_id in made_of:
        request = registry.CreateVersion(
            name="churn", source=source, run_id=run_id, model_id=model_id, tags=tags, description="text"
        )
        call(registry.CREATE_VERSION, request)
    call(registry.DELETE_VERSION, registry.OneModelVersion(name="churn", version="2"))
    call(registry.SET_MODEL_ALIAS, registry.SetModelAlias(name="churn", alias="best", version="3"))
    call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="archive"))
    call(registry.CREATE_VERSION, registry.CreateVersion(name="archive", source="models:/churn/3"))
    mark = (Tag(key="mlflow.prompt.is_prompt", value="true"),)
    call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="greeting", tags=mark))
    text = (*mark, Tag(key="mlflow.prompt.text", value="hello {{name}}"))
    call(registry.CREATE_VERSION, registry.CreateVersion(name="greeting", source="dummy-source", tags=text))


@pytest.fixture
def filled(sides: Sides, tmp_path: Path) -> Filled:
    return fill(sides.source, tmp_path)
