import subprocess
from pathlib import Path

import pytest

from lockgate.automation.source import UNTRACKED_LIMIT_BYTES, read_source


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--initial-branch=main")
    (tmp_path / "train.py").write_text("depth = 3\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_a_folder_without_git_has_no_source(tmp_path: Path) -> None:
    assert read_source(tmp_path) == (None, None, None)


def test_a_repository_without_a_commit_has_no_source(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert read_source(tmp_path).commit is None


def test_a_clean_tree_has_a_commit_and_no_difference(repository: Path) -> None:
    source = read_source(repository)
    assert source.commit is not None and len(source.commit) == 40
    assert (source.branch, source.diff) == ("main", None)


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    git(repository, "checkout", "--detach")
    assert read_source(repository).branch is None


def test_the_difference_holds_changes_and_new_files_but_leaves_the_index_alone(repository: Path) -> None:
    (repository / "train.py").write_text("depth = 4\n")
    (repository / "new.py").write_text("fresh = True\n")
    before = (repository / ".git" / "index").read_bytes()
    diff = read_source(repository).diff
    assert diff is not None
    assert b"+depth = 4" in diff and b"+fresh = True" in diff
    assert (repository / ".git" / "index").read_bytes() == before


def test_large_and_ignored_files_are_no_part_of_the_difference(repository: Path) -> None:
    (repository / ".gitignore").write_text("secret\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-m", "ignore")
    (repository / "secret").write_text("password")
    (repository / "rows.csv").write_bytes(b"x" * (UNTRACKED_LIMIT_BYTES + 1))
    assert read_source(repository).diff is None
