"""`lockgate serve`, `predict` and `feedback` on a project with one version."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from sklearn.linear_model import LogisticRegression

from lockgate.cli.app import App
from lockgate.cli.feedback import feedback
from lockgate.cli.predict import predict
from lockgate.cli.serve import serve
from lockgate.cli.trace import trace
from lockgate.clock import FakeClock
from lockgate.data.predictions import PredictionLog, iter_predictions, read_feedback
from lockgate.entities import Prediction, Release
from lockgate.errors import LockgateError
from lockgate.models.save import save_model

FRAME = pl.DataFrame({"a": np.linspace(-1, 1, 50), "b": np.linspace(1, -1, 50)})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "lockgate.yaml").write_text(
        "model: m\ntask: binary_classification\nenvironments: {staging: {}, production: {}}\n"
    )
    model = LogisticRegression().fit(FRAME, (FRAME["a"] > 0).to_numpy().astype(int))
    save_model(model, root / "model", example=FRAME.head(3))
    app = App(start=root)
    app.client.registry.create_release(
        Release(
            model="m",
            version=0,
            content=app.store.put_tree(root / "model"),
            run_id="",
            created_at=1,
            created_by="me",
            flavor="sklearn",
        )
    )
    FRAME.write_csv(root / "in.csv")
    return root


def run(command: Any, project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, obj=App(start=project))


def failure(result: Result) -> LockgateError:
    assert isinstance(result.exception, LockgateError), result.output
    return result.exception


def test_predict_scores_a_file(project: Path) -> None:
    target = project / "out.parquet"
    result = run(predict, project, "m@1", str(project / "in.csv"), str(target), "--probabilities")
    assert result.exit_code == 0, result.exception
    assert result.output.startswith("50 rows scored by version 1 of m in ")
    assert pl.read_parquet(target).columns == ["a", "b", "prediction", "probability_0", "probability_1"]


def test_predict_says_in_json_what_it_did(project: Path) -> None:
    result = run(
        predict, project, "@1", str(project / "in.csv"), str(project / "o.csv"), "--json", "--only-predictions"
    )
    assert json.loads(result.output) | {"took_s": 0} == {
        "model": "m",
        "version": 1,
        "rows": 50,
        "output": str(project / "o.csv"),
        "took_s": 0,
    }


def test_predict_refuses_unknown_versions_and_files(project: Path) -> None:
    assert failure(run(predict, project, "m@9", "in.csv", "out.csv")).exit_code == 2
    assert failure(run(predict, project, "other@1", "in.csv", "out.csv")).exit_code == 2
    assert failure(run(predict, project, "m@1", str(project / "no.csv"), str(project / "x.csv"))).exit_code == 2


def answered(project: Path, environment: str, *ids: str) -> None:
    """Leave these in the prediction log."""
    rows = [
        Prediction(
            prediction_id=id_,
            at=1,
            model="m",
            version=1,
            environment=environment,
            inputs={"a": 1.0},
            output=1,
            latency_ms=0.5,
        )
        for id_ in ids
    ]
    folder = project / ".lockgate" / "serving" / environment / "predictions"
    log = PredictionLog(folder, replica=ids[0], clock=FakeClock(), keep_days=1, keep_mb=1)
    log.append(rows)
    log.close()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_feedback_from_a_file(project: Path, suffix: str) -> None:
    path = project / f"labels.{suffix}"
    frame = pl.DataFrame({"prediction_id": [f"{suffix}-1", f"{suffix}-2"], "label": [1, 0], "note": ["x", "y"]})
    if suffix == "jsonl":
        frame.drop("note").write_ndjson(path)
    else:
        (frame.write_csv if suffix == "csv" else frame.write_parquet)(path)
    answered(project, "staging", f"{suffix}-1", f"{suffix}-2")
    result = run(feedback, project, str(path), "--env", "staging")
    assert result.output == "2 labels added to staging, 2 of them for logged predictions.\n"
    found = read_feedback(project / ".lockgate" / "serving" / "staging" / "feedback")
    assert {(item.prediction_id, item.label) for item in found} >= {(f"{suffix}-1", 1), (f"{suffix}-2", 0)}


def test_feedback_names_the_lines_it_could_not_use(project: Path) -> None:
    path = project / "mixed.jsonl"
    path.write_text(
        '{"prediction_id": "a", "label": 1}\n{"prediction_id": "b"}\nnonsense\n{"prediction_id":"","label":2}\n'
    )
    result = run(feedback, project, str(path), "--json")
    assert json.loads(result.stdout)["accepted"] == 1
    assert json.loads(result.stdout)["environment"] == "production"
    message = failure(result).message
    assert "3 of 4 lines" in message
    assert "line 2: Object missing required field `label`" in message
    assert "line 3" in message and "line 4: prediction_id is empty" in message


def test_feedback_says_which_labels_belong_to_no_prediction(project: Path) -> None:
    answered(project, "production", "r-0", "r-1")
    path = project / "some.csv"
    path.write_text("prediction_id,label\nr,1\nr-1,0\n")
    result = run(feedback, project, str(path))
    assert (result.exit_code, result.stdout) == (0, "2 labels added to production, 1 of them for logged predictions.\n")
    assert result.stderr == (
        "not in the prediction log of production: r; rows of a request of several are ID-0, ID-1, ...\n"
    )
    told = json.loads(run(feedback, project, str(path), "--json").stdout)
    assert (told["accepted"], told["matched"]) == (2, 1)


def test_trace_of_a_request_names_its_rows(project: Path) -> None:
    answered(project, "staging", "many-0", "many-1", "many-2")
    said = run(trace, project, "many").output
    assert "prediction  many-0 at " in said
    assert "the first of the request's 3 rows, many-0 to many-2\n" in said
    assert "rows" not in run(trace, project, "many-1").output
    assert json.loads(run(trace, project, "many", "--json").stdout)["rows"] == 3


def test_feedback_refuses_wrong_files_and_environments(project: Path) -> None:
    (project / "bad.csv").write_text("id,label\n1,2\n")
    assert "no column 'prediction_id'" in failure(run(feedback, project, str(project / "bad.csv"))).message
    assert "no data file" in failure(run(feedback, project, str(project / "no.csv"))).message
    assert "there is no file" in failure(run(feedback, project, str(project / "no.jsonl"))).message
    error = failure(run(feedback, project, "x.csv", "--env", "prodction"))
    assert error.hint == "did you mean 'production'?"


def test_serve_refuses_a_taken_port(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = failure(run(serve, project, "--port", str(port)))
    assert (error.exit_code, f"port {port} of 127.0.0.1" in error.message) == (5, True)
    assert error.hint is not None and "--port" in error.hint


def test_serve_refuses_unknown_environments(project: Path) -> None:
    assert failure(run(serve, project, "--env", "nowhere", "--port", "0")).exit_code == 2
    assert failure(run(serve, project, "m@1", "--env", "staging", "--port", "0")).exit_code == 2


def test_serve_of_one_version_answers_until_it_is_stopped(project: Path) -> None:
    command = [sys.executable, "-m", "lockgate", "-C", str(project), "serve", "m@1", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(os.environ))
    assert process.stdout is not None
    with process:
        try:
            url = process.stdout.readline().decode().split()[-1]
            with httpx.Client(base_url=url, timeout=30) as http:
                while http.get("/v2/health/ready").status_code != 200:
                    pass
                answer = http.post("/invocations", json={"dataframe_records": [{"a": 1.0, "b": -1.0}]})
            assert answer.json() == {"predictions": [1]}
            process.send_signal(signal.SIGINT)
            assert process.wait(15) == 0
        finally:
            process.kill()
    log = project / ".lockgate" / "serving" / f"adhoc-{url.rpartition(':')[2]}" / "predictions"
    assert [item.version for item in iter_predictions(log)] == [1]
