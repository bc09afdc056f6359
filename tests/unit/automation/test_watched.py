from pathlib import Path

import pytest

from lockgate.automation.triggers import changed_data
from lockgate.automation.watched import watched_data
from lockgate.clock import FakeClock
from lockgate.project import Data, Folder, Project


class Files:
    """A project with one data file and its contract; `changed` says what is new since the last time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = Data(path="rows.csv", contract="contract.yaml")
        self.write("rows.csv", "a\n1\n")
        self.write("contract.yaml", "columns: {a: {type: integer}}\n")
        self._last = self._look()

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def changed(self) -> list[str]:
        before, self._last = self._last, self._look()
        return changed_data(before, self._last)

    def _look(self) -> dict[str, str]:
        project = Project(model="churn", task="regression", data={"rows": self.data})
        return watched_data(Folder(self.root, project), FakeClock())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_nothing_new_is_no_change(files: Files) -> None:
    assert files.changed() == []


def test_a_data_file_with_another_content_is_a_change(files: Files) -> None:
    files.write("rows.csv", "a\n1\n2\n")
    assert files.changed() == ["rows"]


def test_an_edited_contract_is_a_change_once(files: Files) -> None:
    files.write("contract.yaml", "columns: {a: {type: number}}\n")
    assert files.changed() == ["contract of rows"]
    assert files.changed() == []


def test_another_contract_or_none_in_lockgate_yaml_is_a_change(files: Files) -> None:
    files.data = Data(path="rows.csv")
    assert files.changed() == ["contract of rows"]
    files.write("stricter.yaml", "columns: {a: {type: integer, min: 0}}\n")
    files.data = Data(path="rows.csv", contract="stricter.yaml")
    assert files.changed() == ["contract of rows"]


def test_what_is_missing_for_a_moment_is_no_change(files: Files) -> None:
    texts = {name: (files.root / name).read_text() for name in ("rows.csv", "contract.yaml")}
    for name in texts:
        (files.root / name).unlink()
    assert files.changed() == []
