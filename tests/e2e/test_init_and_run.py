"""A newcomer's first minutes: `lockgate init` on a data file, then `lockgate run`, with nothing written by hand."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest


class Shell:
    """Commands as a user types them, in the project's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def __call__(self, *command: str, expect: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def write_table(path: Path, label: str) -> None:
    """300 rows with gaps, text, whole numbers and a label that can be learned."""
    rng = np.random.default_rng(3)
    size = 300
    income, plan = rng.normal(size=size), rng.choice(["basic", "plus", "pro"], size=size)
    score = income + (plan == "pro") + 0.3 * rng.normal(size=size)
    labels = {
        "two": np.where(score > 0, "yes", "no"),
        "three": np.array(["low", "middle", "high"])[np.digitize(score, [-0.3, 0.8])],
        "number": score,
    }
    table = pl.DataFrame(
        {
            "id": np.arange(size),
            "income": [None if i % 20 == 0 else value for i, value in enumerate(income.tolist())],
            "age": rng.integers(20, 80, size=size),
            "plan": [None if i % 30 == 0 else str(value) for i, value in enumerate(plan)],
            "target": labels[label],
        }
    )
    table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)


@pytest.mark.parametrize(
    ("label", "file", "task"),
    [
        ("two", "t.csv", "binary classification"),
        pytest.param("three", "t.parquet", "multiclass classification", marks=pytest.mark.slow),
        pytest.param("number", "t.csv", "regression", marks=pytest.mark.slow),
    ],
)
def test_init_then_run_makes_a_version_that_passed(shell: Shell, label: str, file: str, task: str) -> None:
    write_table(shell.folder / file, label)
    assert task in shell("lockgate", "init", "--data", file, "--label", "target", "--model", "first")
    assert "first@1 passed" in shell("lockgate", "run")
    again = shell("lockgate", "run")
    assert "train: cached" in again
    assert "version 1 serves everything" in shell("lockgate", "deploy", "--to", "production")


def test_script_that_logs_with_mlflow_makes_the_same(shell: Shell) -> None:
    pytest.importorskip("mlflow")
    write_table(shell.folder / "t.csv", "two")
    shell("lockgate", "init", "--data", "t.csv", "--label", "target", "--model", "first", "--mlflow")
    assert "first@1 passed" in shell("lockgate", "run")


@pytest.mark.slow
def test_example_runs(shell: Shell) -> None:
    shell("git", "init", "-q")
    shell("lockgate", "init", "--example")
    shell("git", "add", "-A")
    shell("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "-m", "x")
    assert "tumours@1 passed" in shell("lockgate", "run")
    assert "no git repository" not in shell("lockgate", "doctor")


def test_data_that_breaks_its_contract_stops_the_run(shell: Shell) -> None:
    write_table(shell.folder / "t.csv", "two")
    shell("lockgate", "init", "--data", "t.csv", "--label", "target")
    broken = pl.read_csv(shell.folder / "t.csv").with_columns(age=pl.lit(-5))
    broken.write_csv(shell.folder / "t.csv")
    said = shell("lockgate", "run", expect=3)
    assert "age" in said
    assert "300" in said
