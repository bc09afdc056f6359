"""The main job in front of the reader: a model goes to production, is watched, drifts, fails, and comes back.

Every step is a command that you could type; `./demo` sets up what they need and plays them in `.demo/`.
"""

import json
import os
import random
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from narrator import DidNotHappen, Narrator
from visitors import Visitors

HERE = Path(__file__).parent
LABEL = "malignant"
# Rows that the project starts with; the rest arrive later, as production's.
FIRST_ROWS = 380


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    project = prepare(folder)
    story = Narrator(project, bin_folder=Path(sys.executable).parent)
    try:
        play(story, project)
    except DidNotHappen as error:
        story.stop_all()
        story.fail(error)
    finally:
        story.stop_all()


def prepare(folder: Path) -> Path:
    """A fresh project folder with the data file that the user has."""
    shutil.rmtree(folder, ignore_errors=True)
    project = folder / "cancer"
    (project / "data").mkdir(parents=True)
    all_rows().head(FIRST_ROWS).write_csv(project / "data" / "patients.csv")
    return project


def all_rows() -> pl.DataFrame:
    """scikit-learn's breast cancer data, shuffled: 30 measurements of a tumour and whether it was malignant."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    frame = pl.DataFrame(data.data, schema=[name.replace(" ", "_") for name in data.feature_names])
    frame = frame.with_columns(pl.Series(LABEL, (data.target == 0).astype(int)))
    order = list(range(frame.height))
    random.Random(7).shuffle(order)
    return frame[order]


def play(story: Narrator, project: Path) -> None:
    api_port, serve_port = free_port(), free_port()
    start_project(story, project)
    first_champion(story, project, api_port, serve_port)
    rows = all_rows().tail(-FIRST_ROWS)
    features = rows.drop(LABEL).to_dicts()
    with Visitors(serve_port, features, rows[LABEL].to_list(), per_second=60, seed=3) as visitors:
        refuse_worse(story, project)
        canary_better(story, project, visitors)
        drift_and_retrain(story, project, visitors)
        failing_model(story, project, visitors)
        look_back(story, project, visitors)
    batch_and_ci(story, project)
    finish(story, project, api_port, serve_port)


def start_project(story: Narrator, project: Path) -> None:
    story.heading("A project from a data file")
    story.run("git init --quiet --initial-branch main")
    story.run("git config user.name demo")
    story.run("git config user.email demo@localhost")
    story.run(f"lockgate init --data data/patients.csv --label {LABEL} --model cancer")
    edit(
        project / "lockgate.yaml",
        {"bake: 10m": "bake: 2s", "window: 1h": "window: 8s", "min_requests: 100": "min_requests: 30"},
    )
    story.say("The demo is in a hurry: bake 2s instead of 10m, monitor windows of 8s instead of 1h.")
    story.run("git add --all")
    story.run("git commit --quiet --message 'Start the project'")
    story.heading("Bad data does not get in")
    broken = project / "data" / "broken.csv"
    rows = pl.read_csv(project / "data" / "patients.csv")
    rows.with_columns(pl.when(pl.int_range(pl.len()) < 7).then(-5.0).otherwise("mean_radius").alias("mean_radius"))\
        .write_csv(broken)
    story.run("lockgate check")
    said = story.run("lockgate check data/broken.csv --contract contracts/patients.yaml", exits=3)
    story.note("data contract refuses a broken file", "exit 3")
    broken.unlink()
    del said


def first_champion(story: Narrator, project: Path, api_port: int, serve_port: int) -> None:
    story.heading("The first model: trained, judged, registered")
    story.run("lockgate run", lines=30)
    story.run("lockgate run", lines=6)
    story.note("an unchanged run", "nothing to do, answered from the cache")
    story.heading("Everything on this machine: lockgate up")
    story.start(f"lockgate up --api-port {api_port} --serve-port {serve_port}", log=project.parent / "up.log")
    story.wait_for("health check", lambda: answers(f"http://127.0.0.1:{api_port}/health"), seconds=60)
    story.run("lockgate approve cancer@challenger --for production --comment 'looks right'")
    story.run("lockgate deploy cancer@challenger --to production")
    story.wait_for("replica", lambda: answers(f"http://127.0.0.1:{serve_port}/v2/health/ready"), seconds=60)
    wait_champion(story, project, 1)
    story.note("first champion", "version 1 serves production")


def refuse_worse(story: Narrator, project: Path) -> None:
    story.heading("A worse candidate is refused")
    change_params(project, worse=True)
    story.run("lockgate run", exits=3, lines=16)
    story.note("worse candidate", "refused by its gates, exit 3; kept as version 2, not promoted")
    story.run("lockgate deploy cancer@2 --to production", exits=3)


def canary_better(story: Narrator, project: Path, visitors: Visitors) -> None:
    story.heading("A better candidate goes up in steps, under traffic")
    change_params(project, worse=False)
    story.run("lockgate run", lines=16)
    story.run("lockgate approve cancer@challenger --for production")
    story.run("lockgate deploy cancer@challenger --to production --wait", lines=20)
    wait_champion(story, project, 3)
    story.note("better candidate", f"canary to 100 %; {visitors.answered()} requests answered, {failures(visitors)} failed")
    if failures(visitors):
        raise DidNotHappen(f"requests failed: {visitors.statuses}, {visitors.broken_connections} broken connections")


def wait_champion(story: Narrator, project: Path, version: int) -> None:
    def look() -> bool:
        return champion(story) == version

    story.wait_for(f"version {version} is champion", look, seconds=60)


def champion(story: Narrator) -> int | None:
    raise NotImplementedError
