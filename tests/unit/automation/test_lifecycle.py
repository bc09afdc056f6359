import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from lockgate.automation.lifecycle import LifecycleOutcome, run_lifecycle
from lockgate.automation.recording import TrackingServer
from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.entities import Release
from lockgate.errors import GateFailed, PermissionDenied, StageFailed, Unavailable
from lockgate.models.save import save_model
from lockgate.pipelines.reporter import QuietReporter
from lockgate.project import load_project
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.store.store import Store
from lockgate.wire.mlflow import registry

YAML = """\
model: churn
task: binary_classification
data:
  rows: {path: rows.csv, contract: contract.yaml}
stages:
  train:
    cmd: %s
    deps: [choice, models]
    params: [train]
    model: build/model
    metrics: [{metrics.json: {cache: false}}]
evaluate: {data: rows.csv, label: y}
gates:
  - {metric: accuracy, min: 0.8}
  - {metric: accuracy, no_worse_than: champion, margin: 0.1}
"""
COPY = "rm -rf build && mkdir build && cp -r models/$(cat choice) build/model && cp loss.json metrics.json"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories of a good model, a better one and a useless one, on rows that go with them."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = (x[:, 0] + 0.3 * rng.normal(size=400) > 0).astype(int)
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1]})
    frame.with_columns(y=pl.Series(y)).write_csv(folder / "rows.csv")
    features = frame.to_numpy()
    for name, model in (
        ("good", LogisticRegression(C=0.05)),
        ("better", LogisticRegression(C=1.0)),
        ("useless", DummyClassifier(strategy="constant", constant=0)),
    ):
        save_model(model.fit(features, y), folder / "models" / name, example=frame)
    return folder


class Workplace:
    """A project in a folder; `fails_at` makes one operation of the client unreachable."""

    def __init__(self, root: Path, models: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.store = Store(root / ".lockgate" / "store")
        self.opened = 0
        self.fails_at = ""
        shutil.copytree(models / "models", root / "models")
        shutil.copy(models / "rows.csv", root / "rows.csv")
        self.write(YAML % COPY)
        (root / "contract.yaml").write_text(
            "columns:\n  a: {type: number}\n  b: {type: number}\n  y: {type: integer}\n"
        )
        (root / "loss.json").write_text('{"loss": 0.5}')
        (root / "params.yaml").write_text("train: {depth: 3}\n")
        self.choose("good")

    def write(self, text: str) -> None:
        (self.root / "lockgate.yaml").write_text(text)

    def choose(self, name: str) -> None:
        (self.root / "choice").write_text(name)

    def client(self) -> Client:
        self.opened += 1
        transport = LocalTransport(open_context(self.root / ".lockgate", user="ann", clock=self.clock))
        return Client(Failing(transport, self.fails_at), self.clock)  # type: ignore[arg-type]

    def run(self, *, gates: bool = True) -> LifecycleOutcome:
        self.clock.sleep(1.0)
        return run_lifecycle(
            load_project(self.root),
            open_client=self.client,
            store=self.store,
            tracking=lambda: TrackingServer("http://127.0.0.1:1", ""),
            clock=self.clock,
            user="ann",
            reporter=QuietReporter(),
            jobs=1,
            gates=gates,
        )

    def releases(self) -> list[Release]:
        with self.client() as client:
            return client.registry.list_releases("churn")


class Failing:
    """A transport that loses one operation."""

    def __init__(self, inner: LocalTransport, fails_at: str) -> None:
        self._inner, self._fails_at = inner, fails_at

    def call(self, operation: object, request: object) -> object:
        if self._fails_at and self._fails_at in operation.name:  # type: ignore[attr-defined]
            raise Unavailable("the process was killed here")
        return self._inner.call(operation, request)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


@pytest.fixture
def place(tmp_path: Path, models: Path) -> Workplace:
    return Workplace(tmp_path, models)


def test_a_candidate_that_passes_becomes_a_release_with_everything_behind_it(place: Workplace) -> None:
    outcome = place.run()
    assert outcome.new_version and outcome.refusal is None
    (release,) = place.releases()
    assert (release.version, release.flavor, release.created_by) == (1, "sklearn", "ann")
    assert release.verdict == outcome.verdict
    assert release.params == {"train.depth": 3}
    assert set(release.data) == {"rows"}
    assert release.environment is not None
    assert b"scikit-learn==" in place.store.get_bytes(release.environment)
    assert release.profile is not None and place.store.get_bytes(release.profile)
    assert release.report is not None
    assert {entry.path for entry in place.store.read_tree(release.report)} >= {"report.md", "report.html"}
    with place.client() as client:
        assert client.registry.list_aliases("churn") == {"champion": 1}
        run = client.tracking.get_run(release.run_id)
    assert run.info.status == "FINISHED"
    assert {metric.key for metric in run.data.metrics} >= {"loss", "evaluation.accuracy"}
    assert {tag.key: tag.value for tag in run.data.tags}["lockgate.verdict"] == "passed"


def test_a_second_lifecycle_without_changes_opens_nothing_and_says_the_same(place: Workplace) -> None:
    first = place.run()
    place.opened = 0
    second = place.run()
    assert place.opened == 0
    assert (second.verdict, second.version, second.report) == (first.verdict, 1, first.report)
    assert not second.new_version and second.run_id is None


def test_a_refused_candidate_is_kept_and_marked_and_never_champion(place: Workplace) -> None:
    place.run()
    place.choose("useless")
    outcome = place.run()
    assert outcome.version == 2 and outcome.new_version
    assert isinstance(outcome.refusal, GateFailed)
    assert "accuracy" in outcome.refusal.message
    newest, _ = place.releases()
    assert newest.verdict is not None and not newest.verdict.passed
    with place.client() as client:
        assert client.registry.list_aliases("churn") == {"champion": 1}
    place.opened = 0
    again = place.run()
    assert again.refusal is not None and place.opened == 0


def test_a_candidate_is_judged_again_against_another_champion(place: Workplace) -> None:
    place.run()
    place.choose("better")
    assert place.run().version == 2
    place.choose("good")
    outcome = place.run()
    assert outcome.version == 3
    assert outcome.verdict is not None and outcome.verdict.champion_version == 2


def test_with_environments_a_version_that_passed_is_the_challenger(place: Workplace) -> None:
    place.write(YAML % COPY + "environments: {production: {}}\n")
    place.run()
    with place.client() as client:
        assert client.registry.list_aliases("churn") == {"challenger": 1}


def test_a_champion_from_outside_is_not_compared_with_and_never_comes_back(place: Workplace) -> None:
    """What `lockgate import mlflow` leaves: an alias on a version that nothing here has made."""
    with place.client() as client:
        client.transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="churn"))
        client.transport.call(registry.CREATE_VERSION, registry.CreateVersion(name="churn", source="s3://b/m"))
        client.registry.set_alias("churn", "champion", 1)
    place.write(YAML % COPY + "environments: {production: {}}\n")
    outcome = place.run()
    assert outcome.version == 2 and outcome.verdict is not None and outcome.verdict.champion_version is None
    assert [(check.status, check.reason) for check in outcome.verdict.checks][1:] == [
        ("skipped", "champion version 1 was registered from outside: it has no release to compare with.")
    ]
    assert not place.run().new_version
    with place.client() as client:
        assert client.registry.list_aliases("churn") == {"champion": 1, "challenger": 2}
        client.registry.set_alias("churn", "champion", 2)
        with pytest.raises(GateFailed):
            client.registry.set_alias("churn", "champion", 1)
    place.choose("better")
    after = place.run().verdict
    assert after is not None and after.champion_version == 2 and after.checks[1].status == "passed"


def test_environments_that_are_edited_are_declared_though_nothing_else_has_changed(place: Workplace) -> None:
    for approvals in (0, 2, 1):
        place.write(YAML % COPY + f"environments: {{production: {{promote: {{approvals: {approvals}}}}}}}\n")
        assert place.run().version == 1
        place.opened = 0
        place.run()
        assert place.opened == 0
    with place.client() as client:
        told = [event for event in client.events.list_events() if event.kind == "environments.declared"]
        with pytest.raises(PermissionDenied, match="production needs 2 approval"):
            client.registry.set_alias("churn", "production", 1)
    assert [event.details["changed"] for event in told] == [
        "production: none -> 0, champion: none -> 0",
        "production: 0 -> 2, champion: 0 -> 2",
    ]


def test_environments_are_declared_before_there_is_a_release(place: Workplace) -> None:
    place.write(YAML % COPY + "environments: {production: {promote: {approvals: 1}}}\n")
    place.fails_at = "create_release"
    with pytest.raises(Unavailable):
        place.run()
    with place.client() as client:
        kinds = [event.kind for event in client.events.list_events()]
    assert "environments.declared" in kinds and "release.created" not in kinds


@pytest.mark.parametrize("operation", ["create_release", "declare_environments", "set_alias", "log-batch"])
def test_a_lifecycle_that_dies_on_the_way_goes_on_without_judging_twice(place: Workplace, operation: str) -> None:
    place.fails_at = operation
    place.write((YAML % COPY).replace("    params: [train]\n", ""))
    with pytest.raises(Unavailable):
        place.run()
    place.fails_at = ""
    outcome = place.run()
    (release,) = place.releases()
    assert outcome.version == 1 and release.verdict == outcome.verdict
    with place.client() as client:
        assert client.registry.list_aliases("churn") == {"champion": 1}
        experiment = client.tracking.ensure_experiment("churn")
        runs = client.tracking.search_runs([experiment]).runs
    assert release.run_id in {run.info.run_id for run in runs}


def test_a_broken_data_file_stops_before_any_stage(place: Workplace) -> None:
    (place.root / "rows.csv").write_text("a,b,y\n1,2,many\n")
    with pytest.raises(GateFailed, match="'y'"):
        place.run()
    assert not (place.root / "build").exists()
    assert place.opened == 0


def test_a_failed_stage_is_recorded_on_the_run(place: Workplace) -> None:
    place.write(YAML % "exit 7")
    with pytest.raises(StageFailed):
        place.run()
    with place.client() as client:
        experiment = client.tracking.ensure_experiment("churn")
        (run,) = client.tracking.search_runs([experiment]).runs
    assert run.info.status == "FAILED"


def test_a_run_that_was_killed_is_closed_by_the_next(place: Workplace) -> None:
    with place.client() as client:
        killed = client.tracking.create_run(client.tracking.ensure_experiment("churn"))
        (place.root / ".lockgate" / "open-run").write_text(killed)
        place.run()
        assert client.tracking.get_run(killed).info.status == "KILLED"
    assert not (place.root / ".lockgate" / "open-run").exists()


def test_without_gates_nothing_is_registered(place: Workplace) -> None:
    outcome = place.run(gates=False)
    assert outcome.verdict is None and outcome.run_id is not None
    assert place.releases() == []


def test_stages_are_told_where_to_log(place: Workplace) -> None:
    place.write(YAML % (COPY + " && env > environment"))
    outcome = place.run(gates=False)
    lines = (place.root / "environment").read_text().splitlines()
    assert f"MLFLOW_RUN_ID={outcome.run_id}" in lines
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:1" in lines
    assert f"LOCKGATE_RUN_ID={outcome.run_id}" in lines
