"""PostgreSQL goes away and comes back while the released mlflow client logs: its own retries are all that is needed."""

import re
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.entities import Metric, RunTag  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own warnings are not ours to fix

SCRIPTS = 4
STEPS = 10  # before the database ends, and after it is back


@pytest.fixture
def database_setting(own_postgres: Any) -> str:
    """Where the records of the server are."""
    return own_postgres.create_database()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client as it is delivered: it retries seven times, at once and after 4, 8, ... seconds."""
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")


def answered(url: str) -> Counter[int]:
    """How many requests the server has answered with each status."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        told = answer.read().decode()
    counts = Counter[int]()
    for status, count in re.findall(r'^lockgate_api_requests_total{.*status="(\d+)"} (\d+)', told, re.MULTILINE):
        counts[int(status)] += int(count)
    return counts


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_scripts_log_on_as_if_nothing_had_been(
    client: MlflowClient, served: Any, own_postgres: Any, patient: None, end: str
) -> None:
    under_way = threading.Barrier(SCRIPTS + 1, timeout=60)
    is_back = threading.Event()

    def script() -> tuple[str, int]:
        """The run, and how many steps it logged."""
        run_id = client.create_run("0").info.run_id
        step = after = 0
        while after < STEPS:
            after += is_back.is_set()
            client.log_metric(run_id, "loss", step, step=step)
            client.log_batch(run_id, metrics=[Metric("auc", step, step, step)], tags=[RunTag("newest", str(step))])
            client.log_param(run_id, f"p{step}", step)
            assert client.get_run(run_id).data.metrics["auc"] == step
            step += 1
            if step == STEPS:
                under_way.wait()
        client.set_terminated(run_id)
        return run_id, step

    with ThreadPoolExecutor() as pool:
        scripts = [pool.submit(script) for _ in range(SCRIPTS)]
        under_way.wait()
        getattr(own_postgres, end)()
        limit = time.monotonic() + 60
        while answered(served.url)[503] < SCRIPTS:
            assert time.monotonic() < limit, answered(served.url)
        own_postgres.start()
        is_back.set()
        logged = [done.result() for done in scripts]
    assert set(answered(served.url)) == {200, 503}
    for run_id, steps in logged:
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.data.tags["newest"] == str(steps - 1)
        assert run.data.params == {f"p{step}": str(step) for step in range(steps)}
        for key in ("loss", "auc"):
            assert [point.step for point in client.get_metric_history(run_id, key)] == list(range(steps))
