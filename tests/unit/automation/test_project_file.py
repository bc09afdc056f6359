import logging
from pathlib import Path

import pytest

from lockgate.automation.project_file import ProjectFile, in_force, put_in_force
from lockgate.errors import InvalidInput
from lockgate.project import Project, load_project

YAML = """\
model: churn
task: regression
environments:
  staging: {promote: automatic}
  production: {port: 8081}
"""


class Editor:
    """Somebody who saves lockgate.yaml while it is in force."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refuses = ""
        self.prepared: list[Project] = []
        self.save(YAML)
        self.present = put_in_force(root).project
        self.file = ProjectFile(root)

    def save(self, text: str | bytes) -> None:
        (self.root / "lockgate.yaml").write_bytes(text.encode() if isinstance(text, str) else text)

    def look(self) -> Project | None:
        found = self.file.look(self.present, self.prepare)
        self.present = found or self.present
        return found

    def prepare(self, project: Project) -> None:
        if self.refuses:
            raise InvalidInput(self.refuses)
        self.prepared.append(project)


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    return Editor(tmp_path)


def test_a_file_that_did_not_change_is_not_read_into_anything(editor: Editor) -> None:
    assert editor.look() is None
    assert editor.prepared == []


@pytest.mark.parametrize(
    "more",
    [
        "retrain: {on: [data], schedule: '0 3 * * 1'}\n",
        "monitor: {window: 30m}\n",
        "alerts: [{url: 'env:ALERT_URL'}]\n",
        "data: {rows: {path: rows.csv}}\n",
    ],
)
def test_what_is_saved_is_in_force_for_us_and_for_children(editor: Editor, more: str) -> None:
    editor.save(YAML + more)
    assert editor.look() == load_project(editor.root).project
    assert in_force(editor.root).read_text() == YAML + more
    assert editor.prepared == [editor.present]
    assert editor.look() is None


def test_how_an_environment_is_served_may_change(editor: Editor) -> None:
    editor.save(YAML.replace("{port: 8081}", "{port: 8081, rollout: {strategy: canary}}"))
    assert editor.look() is not None


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ("model: churn\ntask: [", ":2: not valid YAML"),
        (YAML + "retrian: {}\n", ":6: unknown key 'retrian'"),
        (b"model: \xff\n", "not UTF-8"),
        ("", "is empty, or cannot be read"),
        (YAML.replace("churn", "loans"), "another model, loans"),
        (YAML.replace("8081", "8082"), "other environments, or other ports"),
        (YAML + "  canada: {}\n", "other environments, or other ports"),
        (YAML.replace("staging", "qa"), "other environments, or other ports"),
    ],
)
def test_what_cannot_be_in_force_is_said_once_and_changes_nothing(
    editor: Editor, caplog: pytest.LogCaptureFixture, saved: str | bytes, said: str
) -> None:
    editor.save(saved)
    with caplog.at_level(logging.INFO):
        assert [editor.look() for _ in range(3)] == [None] * 3
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert said in record.getMessage()
    assert in_force(editor.root).read_text() == YAML
    editor.save(YAML + "monitor: {window: 30m}\n")
    assert editor.look() is not None


def test_a_deleted_file_changes_nothing(editor: Editor) -> None:
    (editor.root / "lockgate.yaml").unlink()
    assert editor.look() is None
    assert in_force(editor.root).read_text() == YAML


def test_what_cannot_be_prepared_is_not_in_force(editor: Editor, caplog: pytest.LogCaptureFixture) -> None:
    editor.refuses = "'99 * * * *' is no schedule"
    editor.save(YAML + "retrain: {schedule: '99 * * * *'}\n")
    assert [editor.look() for _ in range(2)] == [None, None]
    assert [record.getMessage().count("is no schedule") for record in caplog.records] == [1]
    assert in_force(editor.root).read_text() == YAML


def test_a_broken_file_cannot_be_started_with(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: churn\n")
    with pytest.raises(InvalidInput, match="task"):
        put_in_force(tmp_path)
    assert not in_force(tmp_path).exists()
