"""What releases name is kept by `lockgate gc`, whatever records it asks, and what is lost is named by `verify`."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from sklearn.dummy import DummyRegressor

from lockgate.cli.app import App
from lockgate.cli.gc import RESULTS_A_STAGE, gc
from lockgate.cli.main import lockgate
from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.entities import Content
from lockgate.errors import DataDamaged, InvalidInput, NotFound, PermissionDenied, Unavailable
from lockgate.models.save import save_model
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.server.login import FRESH_S
from lockgate.server.run import serve_in_thread

PROJECT = """\
model: churn
task: regression
stages:
  train: {cmd: [rm -rf built, cp -r source built], deps: [source], model: built}
"""
VERSIONS = RESULTS_A_STAGE + 2  # two of them are known to releases only


class Project:
    """Where it lies, and where its records are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / ".lockgate" / "lockgate.db"
        self.store = root / ".lockgate" / "store"

    def call(self, *words: str) -> str:
        result = CliRunner().invoke(lockgate, ["-C", str(self.root), *words], standalone_mode=False)
        if result.exception:
            raise result.exception
        return result.stdout

    def collect(self, *words: str, uri: str | None = None) -> Any:  # JSON
        app = App(start=self.root, uri=uri)
        with app.client:
            result = CliRunner().invoke(gc, ["--json", *words], obj=app, catch_exceptions=False)
        return json.loads(result.stdout)["content"]

    def trees(self) -> dict[str, Path]:
        """What models are stored as, by version."""
        releases = App(start=self.root).client.registry.list_releases("churn")
        return {f"churn@{item.version}": self._tree(item.content.digest) for item in releases}

    def _tree(self, digest: str) -> Path:
        return self.store / "trees" / digest[:2] / digest[2:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose content is all older than the grace period."""
    project = Project(tmp_path_factory.mktemp("finished"))
    (project.root / "lockgate.yaml").write_text(PROJECT)
    for constant in range(VERSIONS):
        model = DummyRegressor(strategy="constant", constant=constant).fit(np.zeros((2, 1)), [constant] * 2)
        save_model(model, project.root / "source", example=pl.DataFrame({"a": [1.0, 2.0]}))
        project.call("run")
    for path in project.store.rglob("*"):
        os.utime(path, (1, 1))
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    return Project(Path(shutil.copytree(finished.root, tmp_path / "project")))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[str, Client]]:
    """A server that has never heard of the project: its address, and a client."""
    context = open_context(tmp_path / "other", user="server", clock=SystemClock())
    app = make_app(context, settings=Settings())
    with serve_in_thread(app) as server:
        yield server.url, Client(LocalTransport(context), SystemClock())
    app.close()
    context.close()


def test_what_the_projects_own_records_name_is_kept_when_others_are_asked(
    project: Project, other: tuple[str, Client]
) -> None:
    stray = project.store / "files" / "ff" / ("f" * 62)
    stray.parent.mkdir(exist_ok=True)
    stray.touch()
    os.utime(stray, (1, 1))
    ours = project.collect("--dry-run")
    assert ours["deleted"] == ["f" * 64]
    assert project.collect(uri=other[0]) == ours
    assert "everything" in project.call("verify")


def test_records_that_know_nothing_of_the_project_are_refused(project: Project, other: tuple[str, Client]) -> None:
    project.records.unlink()
    stored = sorted(project.store.rglob("*"))
    for uri in (other[0], None, None):  # the last finds what the one before it has made
        with pytest.raises(InvalidInput, match="knows no run and no version of 'churn'") as refused:
            project.collect(uri=uri)
        assert refused.value.message.startswith(uri or str(project.records))
        assert "LOCKGATE_DATABASE" in (refused.value.hint or "")
    assert sorted(project.store.rglob("*")) == stored


def test_content_of_versions_is_kept_when_records_know_others_of_the_same_name(
    project: Project, other: tuple[str, Client]
) -> None:
    aside = project.records.rename(project.root / "aside.db")
    other[1].tracking.ensure_experiment("churn")
    project.collect(uri=other[0])
    aside.rename(project.records)
    assert [name for name, tree in project.trees().items() if not tree.is_file()] == []
    assert "everything" in project.call("verify")


def test_content_of_versions_is_kept_when_the_model_was_called_otherwise_and_records_know_only_its_new_name(
    project: Project, other: tuple[str, Client]
) -> None:
    (project.root / "lockgate.yaml").write_text(PROJECT.replace("churn", "leaving"))
    aside = project.records.rename(project.root / "aside.db")
    other[1].tracking.ensure_experiment("leaving")
    project.collect(uri=other[0])
    aside.rename(project.records)
    assert [name for name, tree in project.trees().items() if not tree.is_file()] == []


def test_token_that_does_not_see_all_models_is_refused_because_the_others_name_content_too(
    project: Project, other: tuple[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, records = other
    stored = sorted(project.store.rglob("*"))
    for model in ("churn", "former"):
        records.tracking.ensure_experiment(model)
    records.access.add_user("ada", role="admin")
    for name, pattern in (("ci", "churn"), ("boss", "*")):
        records.access.add_user(name, role="viewer", pattern=pattern)
    SystemClock().sleep(FRESH_S)  # then the server knows that everybody logs in
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", records.access.create_token("ci").text)
    with pytest.raises(PermissionDenied, match="'ci' does not see all models") as refused:
        project.collect(uri=uri)
    assert refused.value.hint == "an admin gives the role: lockgate users grant ci viewer"
    assert sorted(project.store.rglob("*")) == stored
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", records.access.create_token("boss").text)
    project.collect("--dry-run", uri=uri)


def test_lost_content_of_releases_is_named_and_how_to_get_it_back(project: Project) -> None:
    trees = project.trees()
    for name in ("churn@1", "churn@2"):
        trees[name].unlink()
    with pytest.raises(DataDamaged, match="2 releases name content that is lost") as told:
        project.call("verify")
    assert "backup" in (told.value.hint or "")
    result = CliRunner().invoke(lockgate, ["-C", str(project.root), "verify", "--json"], standalone_mode=False)
    assert sorted(json.loads(result.stdout)["lost"]) == ["churn@1", "churn@2"]
    shutil.rmtree(project.root / ".lockgate" / "models")  # what was taken out of the store before
    (project.root / "rows.csv").write_text("a\n1.0\n")
    with pytest.raises(NotFound, match="the store has no tree") as missed:
        project.call("predict", "churn@1", str(project.root / "rows.csv"), str(project.root / "scored.csv"))
    assert "what a release names is where it was made, or in a backup" in (missed.value.hint or "")
    project.call("predict", "churn@3", str(project.root / "rows.csv"), str(project.root / "scored.csv"))


def test_release_whose_damaged_content_was_removed_is_named(project: Project) -> None:
    tree = project.trees()["churn@1"]
    tree.chmod(0o644)
    tree.write_bytes(b"{")
    for words in ([], ["--remove"], []):
        result = CliRunner().invoke(lockgate, ["-C", str(project.root), "verify", "--json", *words])
        assert isinstance(result.exception, DataDamaged)
        assert list(json.loads(result.stdout)["lost"]) == ["churn@1"]


def test_release_that_another_machine_has_made_is_not_missed(project: Project) -> None:
    registry = App(start=project.root).client.registry
    theirs = Content(kind="tree", digest="0" * 64, size_bytes=1)
    registry.create_release(replace(registry.get_release("churn", 1), content=theirs))
    assert "everything" in project.call("verify")


def test_store_is_verified_where_the_records_cannot_be_asked_and_nobody_takes_that_for_all(project: Project) -> None:
    words = ["-C", str(project.root), "--uri", "http://127.0.0.1:9", "verify"]
    result = CliRunner().invoke(lockgate, words)
    assert isinstance(result.exception, Unavailable)
    assert "everything in the store is" in result.stdout
    assert "releases was not looked for" in result.stderr
    told = json.loads(CliRunner().invoke(lockgate, [*words, "--json"]).stdout)
    assert (told["damaged"], told["lost"]) == ([], {})
    assert "cannot be reached" in told["not_looked_at"]


def test_damaged_records_do_not_count_as_verified(project: Project) -> None:
    for path in project.records.parent.glob("lockgate.db*"):
        path.write_bytes(b"no database" * 1000)
    result = CliRunner().invoke(lockgate, ["-C", str(project.root), "verify"])
    assert isinstance(result.exception, DataDamaged)
    assert "releases was not looked for" in result.stderr
