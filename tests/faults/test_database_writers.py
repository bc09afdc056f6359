"""Many processes write one database at once, and PostgreSQL dies under them: nothing is lost or given twice, no 500."""

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.metadata.events import list_events
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import open_database
from lockgate.metadata.tables import model_versions

WRITERS = 8
SERVERS = 3
WRITER = """
import sys
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.entities import Content, Release
state, me = Path(sys.argv[1]), sys.argv[2]
with connect(Settings(), state=state, user=me, clock=SystemClock()) as client:
    run_id = client.tracking.create_run("0", run_name=me)
    print("ready", flush=True)
    sys.stdin.readline()
    for step in range(20):
        client.tracking.log_metrics(run_id, {f"m{i}": 1.0 for i in range(200)}, step)
        if step % 4 == 0:
            content = Content(kind="tree", digest=f"{step:064x}", size_bytes=1)
            made = {"run_id": run_id, "created_at": 1, "created_by": me, "flavor": "x"}
            client.registry.create_release(Release(model="shared", version=0, content=content, **made))
"""


class Caller:
    """Asks one server over one connection, again and again while it answers that it cannot just now."""

    def __init__(self, port: int) -> None:
        self.statuses: set[int] = set()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: dict[str, object]) -> Any:
        for _ in range(2000):
            self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            data = json.loads(answer.read())
            self.statuses.add(answer.status)
            if answer.status != 503:
                return data
            threading.Event().wait(0.02)  # what a client does between two tries
        raise AssertionError(f"{path} was never answered: {data}")

    def mlflow(self, path: str, **body: object) -> Any:
        return self.post(f"/api/2.0/mlflow/{path}", body)

    def get(self, path: str) -> tuple[int, Any]:
        """Asked once."""
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def in_threads(work: Callable[[int], None], count: int) -> list[BaseException]:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001  # shown by the caller's assertion
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_sqlite_is_never_locked_for_eight_processes_that_write(tmp_path: Path) -> None:
    with connect(Settings(), state=tmp_path, user="a", clock=SystemClock()) as client:
        client.registry.ensure_model("shared")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), f"w{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    told = [writer.communicate()[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, told
    with connect(Settings(), state=tmp_path, user="a", clock=SystemClock()) as client:
        assert client.registry.get_model("shared").latest_version == 5 * WRITERS
        runs = client.tracking.search_runs(["0"]).runs
        assert len(runs) == WRITERS
        for run in runs:
            assert [metric.step for metric in client.tracking.metric_history(run.info.run_id, "m7")] == list(range(20))
            assert {metric.step for metric in run.data.metrics} == {19}
            assert len(run.data.metrics) == 200


def test_servers_on_one_postgresql_lose_no_update_and_give_no_number_twice(
    tmp_path: Path, start_server: Callable[..., Any], postgres_url: str
) -> None:
    given: list[int] = []
    first_to_say: list[str] = []
    statuses: set[int] = set()
    ports = [start_server(tmp_path, postgres_url).port for _ in range(SERVERS)]
    with Caller(ports[0]) as first:
        first.mlflow("registered-models/create", name="shared")
        first.mlflow("model-versions/create", name="shared", source="s3://b/x")
        run_id = first.mlflow("runs/create", experiment_id="0")["run"]["info"]["run_id"]

    def work(number: int) -> None:
        with Caller(ports[number % SERVERS]) as caller:
            write(caller, number)
            statuses.update(caller.statuses)

    def write(caller: Caller, number: int) -> None:
        for step in range(20):
            metrics = [
                {"key": f"m{i}", "value": step, "timestamp": step, "step": step * WRITERS + number}
                for i in ((0, 1, 2, 3) if number % 2 else (3, 2, 1, 0))  # in both orders: these would deadlock
            ]
            assert caller.mlflow("runs/log-batch", run_id=run_id, metrics=metrics) == {}
            param = caller.mlflow("runs/log-parameter", run_id=run_id, key=f"p{step}", value=str(number))
            if param == {}:
                first_to_say.append(f"p{step}")
            made = caller.mlflow("model-versions/create", name="shared", source="s3://b/x")["model_version"]
            given.append(int(made["version"]))
            caller.mlflow("registered-models/alias", name="shared", alias="newest", version=made["version"])
            entry = json.dumps(
                {"run_id": run_id, "artifact_path": f"{number}-{step}", "utc_time_created": "", "flavors": {}}
            )
            if step < 2:
                assert caller.mlflow("runs/log-model", run_id=run_id, model_json=entry) == {}

    assert in_threads(work, WRITERS) == []
    assert statuses <= {200, 400}  # 400: another value of a param that somebody else had said
    assert sorted(given) == list(range(2, 2 + 20 * WRITERS))
    assert sorted(first_to_say) == sorted(f"p{step}" for step in range(20))
    with connect(Settings(database=postgres_url), state=tmp_path, user="after", clock=SystemClock()) as client:
        check_histories(client, run_id)


def check_histories(client: Client, run_id: str) -> None:
    moves = client.registry.alias_history("shared")[::-1]
    assert len(moves) == 20 * WRITERS
    assert moves[0].from_version is None
    assert all(before.to_version == after.from_version for before, after in pairwise(moves))
    assert client.registry.get_alias("shared", "newest") == moves[-1].to_version
    run = client.tracking.get_run(run_id)
    assert {metric.step for metric in run.data.metrics} == {20 * WRITERS - 1}
    for i in range(4):
        steps = [metric.step for metric in client.tracking.metric_history(run_id, f"m{i}")]
        assert sorted(steps) == list(range(20 * WRITERS))
    logged = json.loads({tag.key: tag.value for tag in run.data.tags}["mlflow.log-model.history"])
    assert len({entry["artifact_path"] for entry in logged}) == 2 * WRITERS


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_postgresql_that_ends_and_comes_back_costs_retries_and_nothing_else(
    tmp_path: Path, start_server: Callable[..., Any], own_postgres: Any, end: str
) -> None:
    database = own_postgres.create_database()
    acknowledged: dict[int, list[int]] = {number: [] for number in range(4)}
    callers: list[Caller] = []
    is_back = threading.Event()
    ports = [start_server(tmp_path, database).port for _ in range(2)]
    with Caller(ports[0]) as first:
        run_id = first.mlflow("runs/create", experiment_id="0")["run"]["info"]["run_id"]
        first.mlflow("registered-models/create", name="m")
    under_way = threading.Barrier(5, timeout=60)

    def work(number: int) -> None:
        with Caller(ports[number % 2]) as caller:
            callers.append(caller)
            write(caller, number)

    def write(caller: Caller, number: int) -> None:
        step, after = 0, 0
        while after < 20:
            after += is_back.is_set()
            metric = {"key": f"m{number}", "value": 1, "timestamp": step, "step": step}
            assert caller.mlflow("runs/log-metric", run_id=run_id, **metric) == {}
            acknowledged[number].append(step)
            if step % 5 == 0:
                caller.mlflow("model-versions/create", name="m", source="s3://b/x")
            step += 1
            if step == 20:
                under_way.wait()

    def interrupt() -> None:
        under_way.wait()
        getattr(own_postgres, end)()
        with Caller(ports[0]) as refused:
            status, answer = refused.get(f"/api/2.0/mlflow/runs/get?run_id={run_id}")
        assert (status, answer["message"]) == (503, "the metadata database does not answer.")
        while not any(503 in caller.statuses for caller in callers):  # or none of them may notice anything
            threading.Event().wait(0.01)
        own_postgres.start()
        is_back.set()

    assert in_threads(lambda number: work(number) if number < 4 else interrupt(), 5) == []
    assert set().union(*(caller.statuses for caller in callers)) == {200, 503}
    with connect(Settings(database=database), state=tmp_path, user="after", clock=SystemClock()) as client:
        for number, steps in acknowledged.items():
            found = [metric.step for metric in client.tracking.metric_history(run_id, f"m{number}")]
            assert found == steps
        newest = client.registry.get_model("m").latest_version
    records = open_database(parse_address(database))
    with records.read() as connection:
        versions = connection.scalars(select(model_versions.c.version).order_by(model_versions.c.version))
        assert list(versions) == list(range(1, newest + 1))
        created = [event for event in list_events(connection, after=0, limit=10_000) if event.kind == "version.created"]
        assert len(created) == newest
    records.close()
