"""A stage runs exactly when what it depends on is new, whatever the graph and whatever happened to the files.

The model knows nothing of digests: it computes every output in Python and remembers, for each stage, the inputs that it
has run with.
"""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lockgate.clock import SystemClock
from lockgate.documents import parse_document
from lockgate.pipelines.lock_file import read_lock
from lockgate.pipelines.reporter import QuietReporter
from lockgate.pipelines.run import run_pipeline
from lockgate.pipelines.status import pipeline_status
from lockgate.project import Folder, decode_project
from lockgate.store.actions import Actions
from lockgate.store.store import Store
from lockgate.store.verify import verify

SOURCES = ("a", "b")
LETTERS = st.sampled_from("pqrs")


class Stage:
    """Writes the last line, in order, of all that it reads, with its own parameter: often the same for new inputs."""

    def __init__(self, name: str, deps: list[str], kind: str) -> None:
        self.name, self.deps, self.kind = name, deps, kind
        self.version = 0
        self.seen: set[object] = set()

    @property
    def out(self) -> str:
        return f"out/{self.name}"

    @property
    def yaml(self) -> str:
        result = f"sort -u {' '.join(self.deps)} | tail -1"
        write = {
            "file": f"{result} > {self.out}",
            "folder": f"mkdir -p {self.out} && {result} > {self.out}/x",
            "parameter": f"({result}; grep '^{self.name}:' params.yaml) > {self.out}",
        }[self.kind]
        params = f"    params: [{self.name}]\n" if self.kind == "parameter" else ""
        return (
            f'  {self.name}:\n    cmd: "echo {self.name} >> ran.log && {write} # {self.version}"\n'
            f"    deps: [{', '.join(self.deps)}]\n    outs: [{self.out}]\n{params}"
        )


class Pipeline(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="lockgate-property-"))
        self.store = Store(self.root / ".lockgate" / "store")
        self.actions = Actions(self.store.root / "actions")
        self.stages: list[Stage] = []
        self.sources = dict.fromkeys(SOURCES, "p\n")
        self.params: dict[str, str] = {}
        self.is_current = False

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @initialize(
        shapes=st.lists(
            st.tuples(
                st.sets(st.integers(0, 6), min_size=1, max_size=3), st.sampled_from(["file", "folder", "parameter"])
            ),
            min_size=1,
            max_size=5,
        )
    )
    def build(self, shapes: list[tuple[set[int], str]]) -> None:
        readable = list(SOURCES)
        for i, (picks, kind) in enumerate(shapes):
            deps = sorted({readable[pick % len(readable)] for pick in picks})
            stage = Stage(f"s{i}", deps, kind)
            self.stages.append(stage)
            self.params[stage.name] = "p"
            readable.append(f"{stage.out}/x" if kind == "folder" else stage.out)
        for name, text in self.sources.items():
            (self.root / name).write_text(text)
        self._write_params()

    @rule(name=st.sampled_from(SOURCES), letter=LETTERS)
    def edit_source(self, name: str, letter: str) -> None:
        self.sources[name] = f"{letter}\n"
        (self.root / name).write_text(self.sources[name])

    @rule(pick=st.integers(0, 9), letter=LETTERS)
    def edit_parameter(self, pick: int, letter: str) -> None:
        self.params[self.stages[pick % len(self.stages)].name] = letter
        self._write_params()

    @rule(pick=st.integers(0, 9), version=st.integers(0, 2))
    def edit_command(self, pick: int, version: int) -> None:
        self.stages[pick % len(self.stages)].version = version

    @rule(pick=st.integers(0, 9), how=st.sampled_from(["delete", "scribble"]))
    def lose_output(self, pick: int, how: str) -> None:
        path = self.root / self.stages[pick % len(self.stages)].out
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        if how == "scribble" and path.parent.exists():
            path.write_text("scribble\n")

    @precondition(lambda self: (self.root / "lockgate.lock").exists())
    @rule()
    def lose_lock(self) -> None:
        """Results by identity know all that the lock file knows."""
        (self.root / "lockgate.lock").unlink()

    @rule(jobs=st.integers(1, 3))
    def run(self, jobs: int) -> None:
        folder = self._folder()
        planned = pipeline_status(folder, store=self.store, actions=self.actions, clock=SystemClock())
        states = {item.stage: item.state for item in planned.stages}
        expected, contents = self._expected()
        (self.root / "ran.log").write_text("")
        outcome = run_pipeline(
            folder, store=self.store, actions=self.actions, reporter=QuietReporter(), clock=SystemClock(), jobs=jobs
        )
        ran = (self.root / "ran.log").read_text().split()
        assert sorted(ran) == sorted(expected)
        assert sorted(outcome.ran) == sorted(expected)
        assert {name for name in ran if states[name] != "run"} == set()  # a plan never promises too much
        for stage in self.stages:
            path = self.root / stage.out
            assert (path / "x" if stage.kind == "folder" else path).read_text() == contents[stage.name]
        after = pipeline_status(folder, store=self.store, actions=self.actions, clock=SystemClock())
        assert {item.state for item in after.stages} == {"cached"}
        assert set(read_lock(self.root).stages) == {stage.name for stage in self.stages}

    @invariant()
    def the_store_is_sound(self) -> None:
        assert list(verify(self.store)) == []

    def _expected(self) -> tuple[list[str], dict[str, str]]:
        """The stages that must run, and what every output must hold; the model remembers that they did."""
        must: list[str] = []
        by_path = dict(self.sources)
        contents: dict[str, str] = {}
        for stage in self.stages:
            read = tuple(by_path[dep] for dep in stage.deps)
            param = self.params[stage.name] if stage.kind == "parameter" else None
            key = (stage.version, read, param)
            if key not in stage.seen:
                must.append(stage.name)
                stage.seen.add(key)
            text = sorted({line for content in read for line in content.splitlines()})[-1] + "\n"
            if param is not None:
                text += f"{stage.name}: {param}\n"
            contents[stage.name] = text
            by_path[f"{stage.out}/x" if stage.kind == "folder" else stage.out] = text
        return must, contents

    def _folder(self) -> Folder:
        text = "model: m\ntask: regression\nstages:\n" + "".join(stage.yaml for stage in self.stages)
        return Folder(self.root, decode_project(parse_document(self.root / "lockgate.yaml", text)))

    def _write_params(self) -> None:
        (self.root / "params.yaml").write_text("".join(f"{name}: {value}\n" for name, value in self.params.items()))


TestPipeline = Pipeline.TestCase
TestPipeline.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
