from pathlib import Path

import msgspec
import pytest

from lockgate.gates.key import gate_key
from lockgate.project import BoundGate, Evaluate, Project, TestsGate

PROJECT = Project(
    model="m",
    task="regression",
    evaluate=Evaluate(data="t.csv", label="y"),
    gates=[BoundGate(metric="mae", max=1.0), TestsGate(tests="pytest checks")],
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "test_a.py").write_text("def test_a(): pass\n")
    return tmp_path


def key(root: Path, project: Project = PROJECT, *, candidate: str = "a", champion: str | None = "b") -> str:
    return gate_key(project, candidate=candidate, champion=champion, root=root)


def test_the_same_question_has_the_same_key(root) -> None:
    assert key(root) == key(root)


def test_whatever_changes_the_answer_changes_the_key(root) -> None:
    seen = {key(root), key(root, candidate="c"), key(root, champion=None)}
    seen.add(key(root, msgspec.structs.replace(PROJECT, gates=[BoundGate(metric="mae", max=2.0), PROJECT.gates[1]])))
    (root / "t.csv").write_text("x,y\n1,3\n")
    seen.add(key(root))
    (root / "checks" / "test_a.py").write_text("def test_a(): assert 0\n")
    seen.add(key(root))
    assert len(seen) == 6


def test_caches_of_the_tests_do_not_change_the_key(root) -> None:
    before = key(root)
    (root / "checks" / "__pycache__").mkdir()
    (root / "checks" / "__pycache__" / "test_a.pyc").write_bytes(b"x")
    assert key(root) == before


def test_missing_data_has_a_key_too(root) -> None:
    (root / "t.csv").unlink()
    assert key(root)
