"""What a run records of the code behind it, in every state that a working tree can be in."""

import os
import subprocess
from pathlib import Path

import pytest

from lockgate.automation.source import UNTRACKED_LIMIT_BYTES, read_source


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    (tmp_path / "train.py").write_text("print(1)\n")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_no_git_repository_is_an_answer(tmp_path: Path) -> None:
    assert read_source(tmp_path) == (None, None, None)


def test_a_repository_before_its_first_commit_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert read_source(tmp_path).commit is None


def test_a_clean_tree_has_its_commit_and_branch_and_no_difference(repository: Path) -> None:
    assert read_source(repository) == (git(repository, "rev-parse", "HEAD"), "main", None)


def test_a_detached_head_has_a_commit_and_no_branch(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    source = read_source(repository)
    assert source.commit == git(repository, "rev-parse", "HEAD")
    assert source.branch is None


def test_a_dirty_tree_has_a_difference_that_makes_the_code_again(repository: Path) -> None:
    (repository / "train.py").write_text("print(2)\n")
    (repository / "new.py").write_text("print(3)\n")
    difference = read_source(repository).diff
    assert difference is not None
    git(repository, "stash", "--include-untracked", "--quiet")
    subprocess.run(["git", "-C", str(repository), "apply"], input=difference, check=True)
    assert (repository / "train.py").read_text() == "print(2)\n"
    assert (repository / "new.py").read_text() == "print(3)\n"


def test_a_file_that_changed_as_the_index_was_written_is_seen(repository: Path) -> None:
    """Same size, same time: only the time of the index tells git that it has to look inside."""
    then = (0, 1_700_000_000_000_000_000)
    changed = repository / "train.py"
    git(repository, "config", "core.trustctime", "false")
    os.utime(changed, ns=then)
    git(repository, "add", "train.py")
    changed.write_text("print(2)\n")
    (repository / "new.py").write_text("print(3)\n")
    for path in (changed, repository / ".git" / "index"):
        os.utime(path, ns=then)
    difference = read_source(repository).diff
    assert difference is not None
    assert b"+print(2)" in difference


def test_looking_leaves_the_users_index_as_it_was(repository: Path) -> None:
    (repository / "new.py").write_text("print(3)\n")
    before = git(repository, "status", "--porcelain")
    read_source(repository)
    assert git(repository, "status", "--porcelain") == before == "?? new.py"


def test_ignored_and_large_untracked_files_stay_out(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.log\n")
    (repository / "noise.log").write_text("noise")
    (repository / "data.bin").write_bytes(b"\0" * (UNTRACKED_LIMIT_BYTES + 1))
    difference = read_source(repository).diff
    assert difference is not None
    assert b"noise.log" not in difference
    assert b"data.bin" not in difference
