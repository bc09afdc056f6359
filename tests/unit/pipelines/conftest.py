from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.clock import SystemClock
from lockgate.documents import parse_document
from lockgate.pipelines.outcome import PipelineOutcome, StageOutcome
from lockgate.pipelines.run import run_pipeline
from lockgate.pipelines.status import Planned, pipeline_status
from lockgate.project import Folder, decode_project
from lockgate.store.actions import Actions
from lockgate.store.store import Store


class Recorder:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.lines: list[tuple[str, str]] = []
        self.finished: list[StageOutcome] = []
        self.messages: list[str] = []

    def stage_started(self, stage: str, reason: str) -> None:
        self.started.append((stage, reason))

    def stage_output(self, stage: str, line: str) -> None:
        self.lines.append((stage, line))

    def stage_finished(self, outcome: StageOutcome) -> None:
        self.finished.append(outcome)

    def message(self, text: str) -> None:
        self.messages.append(text)


class Project:
    """A project folder with its store, and the two things that one does with it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / ".lockgate" / "store")
        self.actions = Actions(self.store.root / "actions")
        self.stages = ""
        self.data = ""

    @property
    def folder(self) -> Folder:
        text = f"model: m\ntask: regression\n{self.data}{self.stages}"
        return Folder(self.root, decode_project(parse_document(self.root / "lockgate.yaml", text)))

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def run(self, *targets: str, **options: object) -> PipelineOutcome:
        self.reporter = Recorder()
        known: dict[str, object] = {
            "store": self.store,
            "actions": self.actions,
            "reporter": self.reporter,
            "clock": SystemClock(),
            **options,
        }
        run: Callable[..., PipelineOutcome] = run_pipeline
        return run(self.folder, targets=targets, **known)

    def statuses(self, *targets: str, **options: object) -> dict[str, str]:
        return {stage.name: stage.status for stage in self.run(*targets, **options).stages}

    def plan(self, *targets: str) -> dict[str, Planned]:
        found = pipeline_status(
            self.folder, store=self.store, actions=self.actions, clock=SystemClock(), targets=targets
        )
        return {planned.stage: planned for planned in found.stages}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def chain(project: Project) -> Project:
    """up -> count, where count also reads a parameter."""
    project.write("raw.txt", "hello\n")
    project.write("params.yaml", "count: {flag: -c}\nother: 1\n")
    project.stages = """
stages:
  count:
    cmd: wc $(sed -n 's/.*flag. *\\(-.\\).*/\\1/p' params.yaml) < build/up.txt > build/n.txt && echo counted >> ran.log
    deps: [build/up.txt]
    params: [count]
    outs: [build/n.txt]
  up:
    cmd: tr a-z A-Z < raw.txt > build/up.txt && echo up >> ran.log
    deps: [raw.txt]
    outs: [build/up.txt]
"""
    return project
