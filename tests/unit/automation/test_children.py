"""Commands as children of `lockgate up`."""

from pathlib import Path

import pytest

from lockgate.automation.children import run_child
from lockgate.automation.project_file import put_in_force


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "lockgate.yaml").write_text("model: m\ntask: regression\n")
    put_in_force(tmp_path)
    return tmp_path


def test_a_child_that_fails_says_why_and_an_earlier_error_is_not_taken_for_it(root: Path) -> None:
    log = root / "logs" / "child.log"
    code, error = run_child(root, ("models", "show", "nobody"), log=log, running=set())
    assert code == 2
    assert "nobody" in error and "error:" not in error
    assert run_child(root, ("models",), log=log, running=set()) == (0, "")
