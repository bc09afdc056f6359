"""A model made of functions, rows made of dictionaries: what gates need, without a model directory."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from lockgate.gates.evaluate import evaluate, metric_names
from lockgate.gates.measured import Measured
from lockgate.gates.rows import EvaluationRows, read_rows
from lockgate.models.signature import Signature, infer_signature
from lockgate.project import Evaluate


class FunctionModel:
    """Predicts with functions of its columns."""

    def __init__(
        self,
        predict: Callable[[dict[str, np.ndarray]], Any],
        *,
        proba: Callable[[dict[str, np.ndarray]], Any] | None = None,
        classes: tuple[Any, ...] | None = None,
        example: pl.DataFrame,
        size_bytes: int = 1000,
    ) -> None:
        self._predict = predict
        self._proba = proba
        self.classes = classes
        self.signature: Signature = infer_signature(example)
        self.size_bytes = size_bytes
        self.calls = 0

    def predict(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        self.calls += 1
        return np.asarray(self._predict(columns))

    def predict_proba(self, columns: dict[str, np.ndarray]) -> np.ndarray | None:
        return None if self._proba is None else np.asarray(self._proba(columns))


def binary_model(frame: pl.DataFrame, *, noise: float = 0.0, classes: tuple[Any, Any] = (0, 1)) -> FunctionModel:
    """Scores are the column `x` with noise: a better model has less."""

    def proba(columns: dict[str, np.ndarray]) -> np.ndarray:
        hidden = columns["x"] + noise * np.random.default_rng(9).normal(size=len(columns["x"]))
        p = 1 / (1 + np.exp(-hidden))
        return np.column_stack((1 - p, p))

    return FunctionModel(
        lambda columns: np.asarray(classes)[proba(columns).argmax(axis=1)],
        proba=proba,
        classes=classes,
        example=frame.select("x"),
    )


def binary_frame(rows: int = 400, *, seed: int = 0, labels: tuple[Any, Any] = (0, 1)) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows) * 2
    y = rng.random(rows) < 1 / (1 + np.exp(-x))
    return pl.DataFrame(
        {
            "x": x,
            "region": rng.choice(["north", "south"], rows),
            "label": [labels[int(value)] for value in y],
        }
    )


def rows_of(frame: pl.DataFrame, tmp_path: Any, options: Evaluate, task: Any) -> EvaluationRows:
    return read_rows(tmp_path, options, task, read=lambda _: frame)


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The helpers above, for tests that make their own model or rows."""
    return SimpleNamespace(
        FunctionModel=FunctionModel, binary_frame=binary_frame, binary_model=binary_model, rows_of=rows_of
    )


@pytest.fixture
def options() -> Evaluate:
    return Evaluate(data="test.parquet", label="label")


@pytest.fixture
def measure(tmp_path, options) -> Callable[..., tuple[Measured, pl.DataFrame]]:
    """Candidate and champion, by how noisy each is, evaluated on the same binary rows."""

    def make(candidate: float, champion: float | None = None, *, frame: pl.DataFrame | None = None):
        task = "binary_classification"
        frame = binary_frame() if frame is None else frame
        data = rows_of(frame, tmp_path, options, task)
        names = metric_names(task)
        ask = [None if noise is None else binary_model(frame, noise=noise) for noise in (candidate, champion)]
        found = [
            None if model is None else evaluate(model, data, options=options, task=task, metrics=names) for model in ask
        ]
        return Measured(found[0], found[1], None if champion is None else 3, None, 0), frame

    return make
