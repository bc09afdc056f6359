"""The full released mlflow package trains against our server, and beside it against MLflow's own.

The scripts in `training/` run unchanged against both. Each prints what the training library itself says of its work;
that must be what our server recorded, and all that it recorded must be what MLflow's server recorded.
"""

import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.http import HttpTransport
from lockgate.exchange.endpoint import Endpoint
from lockgate.exchange.files import open_files
from lockgate.wire.mlflow.logged_models import LoggedModel
from lockgate.wire.mlflow.runs import Run

pytestmark = pytest.mark.slow

SCRIPTS = sorted((Path(__file__).parent / "training").glob("*.py"))
WARNING = re.compile(r" (?:WARNING|ERROR) (mlflow.*)")
# What differs from one training to the next: ids, times, and what mlflow draws for the name of an image.
DRAWN = re.compile(r"\b(?:m-)?[0-9a-f]{32}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b1[0-9]{12}\b")


@dataclass(frozen=True)
class Trained:
    """What was left at one server, and what the scripts printed, by the script's name."""

    server: Endpoint
    said: dict[str, Any]
    warnings: dict[str, list[str]]

    def runs(self, experiment: str) -> dict[str, Run]:
        found = self.server.find_experiment(experiment)
        assert found is not None
        return {run.info.run_id: run for page in self.server.iter_runs(found.experiment_id) for run in page}

    def models(self, experiment: str) -> list[LoggedModel]:
        found = self.server.find_experiment(experiment)
        assert found is not None
        return list(self.server.iter_logged_models(found.experiment_id))

    def history(self, run: Run, key: str) -> list[float]:
        """The values of one metric by step, which must count from 0."""
        points = sorted(
            (point.step or 0, float(point.value)) for point in self.server.iter_points(run) if point.key == key
        )
        assert [step for step, _ in points] == list(range(len(points)))
        return [value for _, value in points]


def train(python: str, url: str, home: Path) -> Trained:
    def run(script: Path) -> tuple[Any, list[str]]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "MPLBACKEND": "agg",
            "MLFLOW_TRACKING_URI": url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_AUTOLOGGING_TESTING": "true",  # autologging then raises what it otherwise makes a warning of
        }
        done = subprocess.run(
            [python, script], env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), sorted(WARNING.findall(done.stderr))

    with ThreadPoolExecutor(2) as pool:
        results = dict(zip((script.stem for script in SCRIPTS), pool.map(run, SCRIPTS), strict=True))
    transport = HttpTransport(url, user="ann")
    return Trained(
        Endpoint(transport, url),
        {name: said for name, (said, _) in results.items()},
        {name: warnings for name, (_, warnings) in results.items()},
    )


@pytest.fixture(scope="module")
def at_peer(
    mlflow_python: str, start_peers: Callable[[int], list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    (peer,) = start_peers(1)
    trained = train(mlflow_python, peer.url, tmp_path_factory.mktemp("home"))
    yield trained
    trained.server.transport.close()


@pytest.fixture(scope="module")
def trained(mlflow_python: str, url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    trained = train(mlflow_python, url, tmp_path_factory.mktemp("home"))
    yield trained
    trained.server.transport.close()


def test_scikit_learn_is_recorded_with_the_grid_that_it_searched(trained: Trained) -> None:
    said, runs = trained.said["scikit_learn"], trained.runs("scikit-learn")
    fitted, searched = runs[said["fitted"]], runs[said["searched"]]
    assert params(fitted)["logisticregression__C"] == "0.001"
    assert metrics(fitted)["Pipeline_score_x_test"] == said["score"]
    assert metrics(fitted)["f1_score_x_test"] == said["f1"]
    assert contexts(fitted) == ["eval", "train"]
    assert {f"best_{name}": str(value) for name, value in said["best"].items()}.items() <= params(searched).items()
    assert metrics(searched)["best_cv_score"] == said["best_score"]
    children = [run for run in runs.values() if tags(run).get("mlflow.parentRunId") == said["searched"]]
    tried = [
        ({name: int(params(run)[name]) for name in said["best"]}, metrics(run)["mean_test_score"]) for run in children
    ]
    assert sorted(tried, key=str) == sorted(((chosen, score) for chosen, score in said["tried"]), key=str)


def test_xgboost_is_recorded_round_by_round(trained: Trained) -> None:
    said, runs = trained.said["xgboost_rounds"], trained.runs("xgboost")
    boosted = runs[said["boosted"]]
    best = said["best_iteration"]
    for name, by_metric in said["history"].items():
        for metric, values in by_metric.items():
            assert len(values) > best + 1  # it did stop early
            assert trained.history(boosted, f"{name}-{metric}") == [*values, values[best]]
    assert metrics(boosted)["best_iteration"] == best
    assert params(boosted)["early_stopping_rounds"] == "5"
    assert contexts(boosted) == ["eval", "eval", "train"]
    assert params(runs[said["classified"]])["num_boost_round"] == "7"
    assert [model.info.status for model in trained.models("xgboost")] == ["LOGGED_MODEL_READY"] * 2


def test_lightgbm_is_recorded_round_by_round(trained: Trained) -> None:
    said, runs = trained.said["lightgbm_rounds"], trained.runs("lightgbm")
    boosted = runs[said["boosted"]]
    for name, by_metric in said["history"].items():
        for metric, values in by_metric.items():
            assert trained.history(boosted, f"{name}-{metric}") == values
            assert len(values) == 40
    assert params(boosted)["num_leaves"] == "7"
    assert params(runs[said["regressed"]])["num_boost_round"] == "7"
    assert [model.info.status for model in trained.models("lightgbm")] == ["LOGGED_MODEL_READY"] * 2


def test_model_goes_from_a_run_to_its_alias_and_back(trained: Trained) -> None:
    said, runs = trained.said["model_life"], trained.runs("life of a model")
    assert said["predicts_the_same"] is True
    assert said["bytes_are_the_same"] is True
    assert said["table"] == [1, 2]
    assert said["found"] == [said["model_id"]]
    children = [run for run in runs.values() if tags(run).get("mlflow.parentRunId") == said["parent"]]
    assert {run.info.run_id for run in children} == set(said["children"])
    assert sorted(metrics(run)["accuracy"] for run in children) == said["accuracy"]
    recorded = metrics(runs[said["evaluation"]])
    assert {name: recorded[name] for name in said["evaluated"]} == pytest.approx(said["evaluated"])
    (model,) = trained.server.iter_models()
    assert [(alias.alias, alias.version) for alias in model.aliases] == [("best", "1")]
    first, second = trained.server.list_versions(model)
    assert (first.run_id, second.run_id) == (said["parent"], said["parent"])
    assert [(tag.key, tag.value) for tag in second.tags] == [("again", "yes")]


@pytest.mark.parametrize("experiment", ["scikit-learn", "xgboost", "lightgbm", "life of a model"])
def test_what_is_recorded_is_what_mlflow_s_own_server_records(
    trained: Trained, at_peer: Trained, experiment: str
) -> None:
    runs = [records(run_record, side, side.runs(experiment).values()) for side in (trained, at_peer)]
    assert len(runs[0]) >= 2
    assert runs[0] == runs[1]
    models = [records(model_record, side, side.models(experiment)) for side in (trained, at_peer)]
    assert models[0]
    assert models[0] == models[1]


def test_the_client_warns_of_no_more_than_with_mlflow_s_own_server(trained: Trained, at_peer: Trained) -> None:
    assert trained.warnings == at_peer.warnings


def records(record: Callable[..., Any], side: Trained, found: Iterable[Any]) -> list[Any]:
    return sorted((record(side, one) for one in found), key=lambda known: json.dumps(known, sort_keys=True))


def run_record(side: Trained, run: Run) -> dict[str, Any]:
    """All that can be compared between two trainings."""
    is_named = "mlflow.autologging" not in tags(run)  # others get a name that the server draws
    return {
        "name": run.info.run_name if is_named else "",
        "status": run.info.status,
        "params": params(run),
        "tags": {key: masked(value) for key, value in tags(run).items() if is_named or key != "mlflow.runName"},
        "points": sorted(point_record(point.key, point.value, point.step) for point in side.server.iter_points(run)),
        "inputs": sorted(
            [used.dataset.name, used.dataset.digest, masked(str(used.dataset.schema)), pairs(used.tags)]
            for used in run.inputs.dataset_inputs
        ),
        "models": len(run.outputs.model_outputs) if run.outputs else 0,
        "files": files(side, run.info.artifact_uri),
    }


def model_record(side: Trained, model: LoggedModel) -> dict[str, Any]:
    return {
        "name": model.info.name,
        "status": model.info.status,
        "type": model.info.model_type,
        "params": pairs(model.data.params),
        "metrics": sorted(
            [*point_record(metric.key, metric.value, metric.step), str(metric.dataset_name)]
            for metric in model.data.metrics
        ),
        "tags": [
            [key, versions(value) if key == "mlflow.modelVersions" else value] for key, value in pairs(model.info.tags)
        ],
        "files": files(side, model.info.artifact_uri),
    }


def point_record(key: str, value: float | str, step: int | None) -> list[Any]:
    is_duration = key.endswith("_time")
    return [key, step or 0, "" if is_duration or math.isnan(float(value)) else float(value)]


def files(side: Trained, uri: str) -> list[str]:
    return sorted(masked(path) for path, _ in open_files(side.server.transport, uri).walk())


def masked(text: str) -> str:
    return DRAWN.sub("DRAWN", text)


def pairs(found: Any) -> list[list[str]]:
    return sorted([tag.key, masked(tag.value)] for tag in found)


def versions(tag: str) -> list[list[str]]:
    """MLflow's server writes each twice, once as a number."""
    return sorted(
        [name, version] for name, version in {(item["name"], str(item["version"])) for item in json.loads(tag)}
    )


def params(run: Run) -> dict[str, str]:
    return {param.key: param.value for param in run.data.params}


def tags(run: Run) -> dict[str, str]:
    return {tag.key: tag.value for tag in run.data.tags}


def contexts(run: Run) -> list[str]:
    """What the run used its datasets for."""
    return sorted(tag.value for used in run.inputs.dataset_inputs for tag in used.tags)


def metrics(run: Run) -> dict[str, float]:
    return {metric.key: float(metric.value) for metric in run.data.metrics}
