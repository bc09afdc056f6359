import os
import stat
from pathlib import Path

import pytest

from lockgate.entities import Content
from lockgate.errors import DataDamaged, InvalidInput, NotFound
from lockgate.store.checkout import checkout
from lockgate.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def folder(root: Path, **files: str) -> Path:
    root.mkdir(parents=True)
    for name, text in files.items():
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_file_is_restored_writable(store: Store, tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(os.urandom(size))
    content = store.put(tmp_path / "x")
    checkout(store, content, tmp_path / "deep" / "y")
    assert (tmp_path / "deep" / "y").read_bytes() == (tmp_path / "x").read_bytes()
    assert os.access(tmp_path / "deep" / "y", os.W_OK)
    (tmp_path / "deep" / "y").write_bytes(b"changed")
    assert len(store.get_bytes(content.digest)) == size


def test_a_tree_is_restored_with_its_executable_files(store: Store, tmp_path: Path) -> None:
    source = folder(tmp_path / "t", a="a", run="r")
    (source / "run").chmod(0o755)
    content = store.put(source)
    checkout(store, content, tmp_path / "copy")
    assert store.put(tmp_path / "copy") == content
    assert (tmp_path / "copy" / "run").stat().st_mode & stat.S_IXUSR


def test_an_empty_tree_is_an_empty_folder(store: Store, tmp_path: Path) -> None:
    content = store.put(folder(tmp_path / "t"))
    checkout(store, content, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


@pytest.mark.parametrize("before", ["nothing", "file", "folder", "link", "link to folder"])
@pytest.mark.parametrize("kind", ["file", "tree"])
def test_whatever_was_there_is_replaced_and_nothing_else(store: Store, tmp_path: Path, before: str, kind: str) -> None:
    source = folder(tmp_path / "t", a="new")
    content = store.put(source if kind == "tree" else source / "a")
    target = tmp_path / "out" / "target"
    target.parent.mkdir()
    elsewhere = folder(tmp_path / "elsewhere", mine="mine")
    if before == "file":
        target.write_text("old")
    elif before == "folder":
        folder(target, a="old", b="old")
    elif before != "nothing":
        target.symlink_to(elsewhere if "folder" in before else elsewhere / "mine")
    checkout(store, content, target)
    assert store.put(target) == content
    assert not target.is_symlink()
    assert [path.name for path in target.parent.iterdir()] == ["target"]
    assert (elsewhere / "mine").read_text() == "mine"


def test_damage_and_absence_leave_the_target_as_it_was(store: Store, tmp_path: Path) -> None:
    content = store.put(folder(tmp_path / "t", a="a", b="b"))
    target = folder(tmp_path / "target", keep="me")
    damaged = store.path_of(store.read_tree(content.digest)[1].digest)
    damaged.chmod(0o644)
    damaged.write_text("B")
    with pytest.raises(DataDamaged):
        checkout(store, content, target)
    damaged.unlink()
    with pytest.raises(NotFound):
        checkout(store, content, target)
    with pytest.raises(NotFound):
        checkout(store, Content(kind="tree", digest="0" * 64, size_bytes=0), target)
    assert (target / "keep").read_text() == "me"
    assert [path.name for path in target.iterdir()] == ["keep"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "t", "target"]


def test_a_large_damaged_file_is_found(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(5_000_000))
    content = store.put(tmp_path / "x")
    path = store.path_of(content.digest)
    path.chmod(0o644)
    path.write_bytes(bytes(4_999_999) + b"1")
    with pytest.raises(DataDamaged):
        checkout(store, content, tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_what_a_killed_checkout_left_is_cleaned_up_by_the_next(store: Store, tmp_path: Path) -> None:
    content = store.put(folder(tmp_path / "t", a="a"))
    orphan = folder(tmp_path / "out" / ".lockgate-999999999-abcd-target", half="h")
    running = folder(tmp_path / "out" / f".lockgate-{os.getpid()}-abcd-target", half="h")
    checkout(store, content, tmp_path / "out" / "target")
    assert not orphan.exists()
    assert running.exists()


def test_a_target_under_a_file_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    content = store.put(tmp_path / "x")
    with pytest.raises(InvalidInput, match="cannot be written"):
        checkout(store, content, tmp_path / "x" / "y")
