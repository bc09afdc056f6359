"""The code behind a run: the commit, and what the working tree holds that the commit does not."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

# Larger files that nobody committed are data, and data is known by its digest.
UNTRACKED_LIMIT_BYTES = 1 << 20


class Source(NamedTuple):
    """`commit` is None outside of git or before the first commit; `diff` is None where the tree is clean."""

    commit: str | None
    branch: str | None  # None on a detached head
    diff: bytes | None


def read_source(root: Path) -> Source:
    """Commit, branch and difference of the folder `root`. Never fails: no git is an answer."""
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return Source(None, None, None)
    branch = _git(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    return Source(commit.decode().strip(), branch.decode().strip() if branch else None, _difference(root) or None)


def _difference(root: Path) -> bytes:
    """`git diff HEAD` below `root`, new files included, without touching the user's index."""
    untracked = [
        path
        for path in os.fsdecode(_git(root, "ls-files", "--others", "--exclude-standard", "-z") or b"").split("\0")
        if path and _size(root / path) <= UNTRACKED_LIMIT_BYTES
    ]
    diff = ("diff", "--binary", "--no-color", "--no-ext-diff", "HEAD", "--", ".")
    index = _git(root, "rev-parse", "--git-path", "index")
    if not untracked or not index:
        return _git(root, *diff) or b""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "index"
        original = root / os.fsdecode(index).strip()
        if original.exists():
            # With its time: git looks again at files that are as new as the index, which may have changed since.
            shutil.copy2(original, copy)
        # An intent to add names the new files in the copied index without storing them anywhere.
        names = "\0".join(untracked).encode()
        _git(root, "add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul", index=copy, stdin=names)
        return _git(root, *diff, index=copy) or b""


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return UNTRACKED_LIMIT_BYTES + 1


def _git(root: Path, *arguments: str, index: Path | None = None, stdin: bytes = b"") -> bytes | None:
    """Standard output, or None where git is missing or says no."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", **({"GIT_INDEX_FILE": str(index)} if index else {})}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], input=stdin, capture_output=True, env=environment, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
