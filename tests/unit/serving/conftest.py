"""Models that the serving tests share: fitted and saved once a test run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lockgate.entities import Traffic, TrafficShare
from lockgate.models.save import save_model
from lockgate.serving.traffic import write_traffic
from lockgate.store.store import Store
from lockgate.testing.replica import RunningReplica


def frame(rows: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    return pl.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "c": rng.normal(size=rows)})


def mixed_frame(rows: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    return pl.DataFrame(
        {
            "age": rng.integers(18, 80, rows),
            "plan": rng.choice(["basic", "plus"], rows),
            "spent": pl.Series([None if i % 7 == 0 else float(i) for i in range(rows)]),
        }
    )


class Models:
    """Digests in one store, by the name of what the model is."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.digests: dict[str, str] = {}

    def add(self, name: str, model: Any, example: Any) -> None:
        folder = self.state / "saved" / name
        save_model(model, folder, example=example)
        self.digests[name] = Store(self.state / "store").put_tree(folder).digest

    def serve(self, environment: str, *shares: tuple[int, str, float], revision: int = 1) -> None:
        """Publish traffic: (version, name of a model, share)."""
        found = tuple(
            TrafficShare(version=version, digest=self.digests.get(name, name), share=share)
            for version, name, share in shares
        )
        traffic = Traffic(model="m", environment=environment, revision=revision, shares=found, changed_at=revision)
        write_traffic(self.state / "serving" / environment, traffic)


def moody() -> Any:
    """A classifier that raises where a > 100 and dawdles where a < -100."""

    class Moody(ClassifierMixin, BaseEstimator):
        classes_ = np.array([0, 1])

        def predict(self, rows: Any) -> Any:
            import time

            if (rows[:, 0] > 100).any():
                raise ZeroDivisionError("a is too large")
            if (rows[:, 0] < -100).any():
                time.sleep(0.5)
            return (rows[:, 0] > 0).astype(int)

    return Moody()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    found = Models(tmp_path_factory.mktemp("serving"))
    numbers, y = frame(), (frame()["a"] > 0).to_numpy()
    found.add("classifier", make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, y), numbers)
    found.add("other", make_pipeline(StandardScaler(), LogisticRegression(C=0.01)).fit(numbers, ~y), numbers)
    found.add("regression", LinearRegression().fit(numbers, numbers["a"] * 2), numbers)
    found.add("positional", LogisticRegression().fit(numbers.to_numpy(), y), numbers.to_numpy())
    found.add("moody", moody(), numbers)
    mixed = mixed_frame()
    pick = ColumnTransformer(
        [("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"]), ("age", "passthrough", ["age"])]
    )
    found.add("mixed", make_pipeline(pick, LogisticRegression()).fit(mixed, np.arange(60) % 2), mixed)
    return found


@pytest.fixture(scope="session")
def replica(models: Models) -> Iterator[RunningReplica]:
    """Serves version 1 (classifier) and, to requests that name it, version 2 (moody)."""
    models.serve("shared", (1, "classifier", 1.0), (2, "moody", 0.0))
    with RunningReplica(models.state, "shared") as running:
        wait_until_ready(running.url)
        yield running


def wait_until_ready(url: str) -> None:
    import time

    deadline = time.monotonic() + 20
    while httpx.get(f"{url}/v2/health/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
