"""What makes a real `lockgate up` start a pipeline run by itself: fed back labels, shifted inputs, the clock."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.entities import Alert, MonitorWindow
from lockgate.models.save import save_model
from lockgate.project import load_project
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport

StartUp = Callable[..., Any]  # conftest's Up: test folders are no packages
ROWS = 50
YAML = """\
model: churn
task: regression
stages:
  train:
    cmd: [echo run >> runs.txt, rm -rf build, mkdir build, cp -r prebuilt build/model]
    deps: [prebuilt]
    model: build/model
    always_changed: true
evaluate: {data: rows.csv, label: y}
environments:
  staging: {promote: automatic}
monitor:
  window: 1s
  min_rows: 20
  performance: {metric: mae, max: 1.0, min_labels: 20}
"""


class Served:
    """A model of y = 2 a that the project's own pipeline made, and its records. `ask` and `label` speak HTTP."""

    def __init__(self, root: Path, *, retrain: str) -> None:
        self.root = root
        (root / "lockgate.yaml").write_text(YAML + f"retrain: {retrain}\n")
        self.rows = np.random.default_rng(0).normal(size=400)
        frame = pl.DataFrame({"a": self.rows, "y": 2 * self.rows})
        frame.write_csv(root / "rows.csv")
        model = LinearRegression().fit(frame[["a"]].to_numpy(), frame["y"].to_numpy())
        save_model(model, root / "prebuilt", example=frame[["a"]])
        subprocess.run([sys.executable, "-m", "lockgate", "-C", str(root), "run"], check=True, capture_output=True)
        clock = SystemClock()
        self.client = Client(LocalTransport(open_context(load_project(root).state, user="ann", clock=clock)), clock)

    def runs(self) -> int:
        """How often the pipeline ran, the time before `up` included."""
        return len((self.root / "runs.txt").read_text().split())

    def alert(self, kind: str) -> Alert | None:
        return next((alert for alert in self.client.monitoring.list_alerts() if alert.kind == kind), None)

    def ask(self, up: Any, *, shift: float = 0.0, label_error: float | None = None) -> None:
        """A request of many rows; with `label_error` followed by labels that are that far from the answers."""
        records = [{"a": value + shift} for value in self.rows[:ROWS].tolist()]
        url = f"http://127.0.0.1:{up.serve_port}"
        answer, headers = post(f"{url}/invocations", {"dataframe_records": records})
        if label_error is None:
            return
        name = headers["lockgate-prediction-id"]
        labels = [
            {"prediction_id": f"{name}-{i}", "label": value + label_error}
            for i, value in enumerate(answer["predictions"])
        ]
        accepted, _ = post(f"{url}/feedback", labels)
        assert accepted == {"accepted": ROWS}

    def windows(self) -> list[MonitorWindow]:
        return self.client.monitoring.list_windows("churn", "staging", limit=200)


def post(url: str, body: object) -> tuple[Any, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer), answer.headers


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Served]]:
    made: list[Served] = []

    def serve(retrain: str) -> Served:
        made.append(Served(tmp_path, retrain=retrain))
        return made[-1]

    yield serve
    for served in made:
        served.client.close()


def test_labels_that_the_model_misses_start_a_run(serve: Callable[[str], Served], start_up: StartUp) -> None:
    served = serve("{on: [performance], cooldown: 0s}")
    up = start_up(served.root)
    up.wait_for(up.serves)

    def is_healthy() -> bool:
        served.ask(up, label_error=0.0)
        return any("mae" in window.performance for window in served.windows())

    up.wait_for(is_healthy)
    assert (served.alert("performance"), served.runs()) == (None, 1)

    def has_run() -> bool:
        served.ask(up, label_error=10.0)
        return served.runs() > 1

    up.wait_for(has_run)
    alert = served.alert("performance")
    assert alert is not None
    assert f"a pipeline run starts: {alert.summary}" in up.log.read_text()
    assert "mae is" in alert.summary


def test_inputs_that_drifted_start_a_run(serve: Callable[[str], Served], start_up: StartUp) -> None:
    served = serve("{on: [drift], cooldown: 0s}")
    up = start_up(served.root)
    up.wait_for(up.serves)

    def has_run() -> bool:
        served.ask(up, shift=100.0)
        return served.runs() > 1

    up.wait_for(has_run)
    alert = served.alert("drift")
    assert alert is not None
    assert f"a pipeline run starts: {alert.summary}" in up.log.read_text()


def test_the_clock_starts_a_run(serve: Callable[[str], Served], start_up: StartUp) -> None:
    served = serve('{schedule: "*/2 * * * * *"}')
    up = start_up(served.root)
    up.wait_for(lambda: served.runs() > 1)
    assert "a pipeline run starts: schedule */2 * * * * * at " in up.log.read_text()
