"""lockgate.yaml is saved while a real `lockgate up` runs: what can be in force is, and what cannot does no harm."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyRegressor

from lockgate.models.save import save_model

StartUp = Callable[..., Any]  # conftest's Up: test folders are no packages
YAML = """\
model: churn
task: regression
data:
  rows: {path: rows.csv}
stages:
  train:
    cmd: [echo run >> runs.txt, rm -rf build, mkdir build, cp -r prebuilt build/model]
    deps: [prebuilt]
    model: build/model
    always_changed: true
environments:
  staging: {promote: automatic}
"""


class Place:
    """A project whose pipeline only copies a model."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("lockgate.yaml", YAML)
        self.write("rows.csv", "a\n1\n")
        model = DummyRegressor(strategy="constant", constant=1.0).fit(np.zeros((2, 1)), [1.0, 1.0])
        save_model(model, root / "prebuilt", example=pl.DataFrame({"a": [1.0, 2.0]}))

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def runs(self) -> int:
        runs = self.root / "runs.txt"
        return len(runs.read_text().split()) if runs.exists() else 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_triggers_and_schedule_that_are_saved_later_count(place: Place, start_up: StartUp) -> None:
    up = start_up(place.root).wait_ready()
    place.write("lockgate.yaml", YAML + "retrain: {on: [data], cooldown: 0s}\n")
    up.wait_for((place.root / ".lockgate" / "triggers.json").exists)
    place.write("rows.csv", "a\n2\n")
    up.wait_for(lambda: place.runs() == 1)
    place.write("lockgate.yaml", YAML + 'retrain: {schedule: "* * * * * *"}\n')
    up.wait_for(lambda: place.runs() > 1)


def test_a_broken_file_is_told_of_once_and_the_one_before_stays_in_force(place: Place, start_up: StartUp) -> None:
    place.write("lockgate.yaml", YAML + "retrain: {on: [data], cooldown: 0s}\n")
    up = start_up(place.root).wait_ready()
    up.wait_for((place.root / ".lockgate" / "triggers.json").exists)
    place.write("lockgate.yaml", YAML + "retrian: {on: []}\n")
    up.wait_for(lambda: "unknown key 'retrian'" in up.log.read_text())
    place.write("rows.csv", "a\n2\n")
    up.wait_for(up.serves)
    assert place.runs() == 1
    up.wait_for(lambda: len(up.children()) == 1)
    (replica,) = up.children()
    os.kill(replica, signal.SIGKILL)
    up.wait_for(lambda: up.children() not in ([replica], []))
    up.wait_for(up.serves)
    assert up.log.read_text().count("what was in force stays in force") == 1


def test_what_is_no_schedule_is_an_error_of_the_file(place: Place, start_up: StartUp) -> None:
    place.write("lockgate.yaml", YAML + 'retrain: {schedule: "99 * * * *"}\n')
    up = start_up(place.root)
    assert up.process.wait(60) == 2
    assert "retrain.schedule: '99 * * * *' is no schedule" in up.log.read_text()
