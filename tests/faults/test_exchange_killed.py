"""kill -9 and Ctrl-C in the middle of an import: the same command goes on, and nothing is there twice."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread
from lockgate.wire.mlflow import registry, runs

RUNS = 25
POINTS = 12_000  # more than one request takes
# Says every step, so that the test can kill it at a step; the last line says whether all counts were equal.
IMPORT = """
import os
import signal
import sys
import threading
from pathlib import Path
from lockgate.client.http import HttpTransport
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.exchange.copy import copy
from lockgate.exchange.destination import AnyServer, Lockgate
from lockgate.exchange.endpoint import Endpoint

class Told:
    def phase(self, text):
        print(text, flush=True)
    def advance(self, *, items=1, points=0):
        print(items, points, flush=True)

class Interrupted(HttpTransport):
    # Presses Ctrl-C while a file is fetched; no file comes before the end.
    def get_file(self, path, target):
        if not asked:
            asked.append(path)
            os.kill(os.getpid(), signal.SIGINT)
        ended.wait(20)
        super().get_file(path, target)
    def end(self):
        super().end()
        ended.set()

asked, ended = [], threading.Event()
url, state, database, way, *interrupted = sys.argv[1:]
with connect(Settings(database=database), state=Path(state), user="ann", clock=SystemClock()) as client:
    destination = (Lockgate if way == "import" else AnyServer)(client.transport)
    source = Endpoint((Interrupted if interrupted else HttpTransport)(url, user="ann"), "the source")
    report = copy(source, Endpoint(client.transport, "the target"), destination, progress=Told(), jobs=2)
    print("equal" if report.is_equal else report, flush=True)
"""


@pytest.fixture
def source(tmp_path: Path) -> Iterator[str]:
    context = open_context(tmp_path / "source", user="tester", clock=SystemClock())
    client = Client(LocalTransport(context), SystemClock())
    experiment = client.tracking.ensure_experiment("many")
    file = tmp_path / "model.txt"
    file.write_text("weights")
    for number in range(RUNS):
        run_id = client.tracking.create_run(experiment, run_name=f"run {number}")
        client.tracking.log_batch(run_id, params={"number": str(number)})
        client.tracking.upload_artifact(run_id, file, "model")
        client.tracking.finish_run(run_id)
    points = [runs.Metric(key="loss", value=step / 3, timestamp=step, step=step) for step in range(POINTS)]
    long = client.tracking.create_run(experiment, run_name="long")
    client.tracking.log_batch(long, metrics=points)
    call = client.transport.call
    call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="churn"))
    root = client.tracking.get_run(long).info.artifact_uri
    for _ in range(4):
        request = registry.CreateVersion(name="churn", source=f"{root}/model", run_id=long)
        call(registry.CREATE_VERSION, request)
    for number in ("1", "3"):
        call(registry.DELETE_VERSION, registry.OneModelVersion(name="churn", version=number))
    app = make_app(context, settings=Settings())
    with serve_in_thread(app) as server:
        yield server.url
    app.close()
    context.close()


def start(source: str, state: Path, database: str, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", IMPORT, source, str(state), database, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("way", "database_setting"),
    [("import", "sqlite"), ("import", "postgres"), ("export", "sqlite")],
    indirect=["database_setting"],
)
def test_killed_copy_goes_on_without_doubles(source: str, tmp_path: Path, database_setting: str, way: str) -> None:
    state = tmp_path / "target"
    for steps in (5, 20, 33):
        with start(source, state, database_setting, way) as process:
            assert process.stdout is not None
            for _ in range(steps):
                assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    with start(source, state, database_setting, way) as process:
        said, _ = process.communicate()
    assert said.splitlines()[-1] == "equal"
    with connect(Settings(database=database_setting), state=state, user="ann", clock=SystemClock()) as client:
        experiment = client.tracking.ensure_experiment("many")
        found = client.tracking.search_runs([experiment], max_results=1000).runs
        assert sorted(run.info.run_name for run in found) == sorted(["long", *(f"run {n}" for n in range(RUNS))])
        assert {run.info.status for run in found} == {"FINISHED", "RUNNING"}
        (long,) = [run.info.run_id for run in found if run.info.run_name == "long"]
        assert len(client.tracking.metric_history(long, "loss")) == POINTS
        page = client.transport.call(registry.SEARCH_VERSIONS, registry.SearchVersions(filter="name='churn'"))
        assert sorted(version.version for version in page.model_versions) == ["2", "4"]


def test_ctrl_c_begins_no_further_run_and_the_same_command_goes_on(
    source: str, tmp_path: Path, database_setting: str
) -> None:
    state = tmp_path / "target"

    def runs_there() -> int:
        with connect(Settings(database=database_setting), state=state, user="ann", clock=SystemClock()) as client:
            return len(client.tracking.search_runs([client.tracking.ensure_experiment("many")], max_results=1000).runs)

    with start(source, state, database_setting, "import", "interrupted") as process:
        process.communicate()
    assert process.returncode in (-signal.SIGINT, 130)
    assert 1 <= runs_there() <= 4  # two at a time, and what is handed over in between
    with start(source, state, database_setting, "import") as process:
        said, _ = process.communicate()
    assert (said.splitlines()[-1], runs_there()) == ("equal", RUNS + 1)
