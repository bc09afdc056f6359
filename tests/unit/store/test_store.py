import errno
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lockgate.entities import Content
from lockgate.errors import DataDamaged, InvalidInput, NotFound, StorageFull
from lockgate.store.atomic import naming_full_disk, write_atomically
from lockgate.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def leftovers(store: Store) -> list[Path]:
    return [path for path in (store.root / "tmp").rglob("*") if path.is_file()]


def test_bytes_come_back_and_their_name_is_the_blake3_of_them(store: Store) -> None:
    digest = store.put_bytes(b"hello")
    assert digest == "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f"
    assert store.get_bytes(digest) == b"hello"
    assert leftovers(store) == []


def test_objects_are_read_only(store: Store) -> None:
    path = store.path_of(store.put_bytes(b"hello"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_file_of_any_size_is_stored_whole(store: Store, tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    content = store.put_file(file)
    assert content.kind == "file"
    assert content.size_bytes == size
    assert store.get_bytes(content.digest) == file.read_bytes()
    with store.open(content.digest) as opened:
        assert opened.read() == file.read_bytes()
    assert store.put_file(file) == content
    assert leftovers(store) == []


def test_a_tree_lists_its_files_in_order_with_the_executable_bit(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "b" / "run.sh").chmod(0o755)
    (folder / "a").write_text("same")
    (folder / "c").write_text("same")
    content = store.put_tree(folder)
    entries = store.read_tree(content.digest)
    assert [(entry.path, entry.executable) for entry in entries] == [("a", False), ("b/run.sh", True), ("c", False)]
    assert (content.files, content.size_bytes) == (3, 18)
    assert store.has(content)
    assert leftovers(store) == []


def test_a_tree_has_one_identity_wherever_and_in_whatever_order_it_was_written(store: Store, tmp_path: Path) -> None:
    for name, order in (("one", "abc"), ("two", "cab")):
        (tmp_path / name).mkdir()
        for letter in order:
            (tmp_path / name / letter).write_text(letter)
    assert store.put(tmp_path / "one") == store.put(tmp_path / "two")


def test_the_executable_bit_is_part_of_the_identity(store: Store, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "x").write_text("x")
    before = store.put(tmp_path / "t")
    (tmp_path / "t" / "x").chmod(0o755)
    assert store.put(tmp_path / "t").digest != before.digest


def test_caches_are_no_content(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "src"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "a.pyc").write_bytes(b"1")
    (folder / "a.py").write_text("a")
    assert [entry.path for entry in store.read_tree(store.put(folder).digest)] == ["a.py"]


def test_links_inside_a_tree_are_followed(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "real").write_text("r")
    (folder / "link").symlink_to("sub/real")
    (folder / "dir").symlink_to("sub")
    assert [entry.path for entry in store.read_tree(store.put(folder).digest)] == ["dir/real", "link", "sub/real"]


@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "nowhere", "."])
def test_links_out_of_a_tree_to_nowhere_or_in_circles_are_refused(store: Store, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to(target)
    with pytest.raises(InvalidInput, match="link"):
        store.put(tmp_path / "t")


def test_two_links_that_lead_to_each_other_s_folder_are_refused(store: Store, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "t" / name).mkdir(parents=True)
    (tmp_path / "t" / "a" / "to_b").symlink_to("../b")
    (tmp_path / "t" / "b" / "to_a").symlink_to("../a")
    with pytest.raises(InvalidInput, match="lies in"):
        store.put(tmp_path / "t")


def test_devices_and_names_that_are_not_text_are_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    os.mkfifo(tmp_path / "t" / "pipe")
    with pytest.raises(InvalidInput, match="neither"):
        store.put(tmp_path / "t")
    (tmp_path / "u").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "u") + b"/\xff")).write_bytes(b"")
    with pytest.raises(InvalidInput, match="UTF-8"):
        store.put(tmp_path / "u")


def test_a_damaged_file_is_named_and_nothing_of_it_is_returned(store: Store) -> None:
    digest = store.put_bytes(b"hello")
    path = store.path_of(digest)
    path.chmod(0o644)
    path.write_bytes(b"hellO")
    for read in (store.get_bytes, store.open):
        with pytest.raises(DataDamaged, match=digest) as caught:
            read(digest)
        assert "lockgate verify" in str(caught.value)


def test_a_truncated_object_is_written_anew_when_the_same_content_is_stored(store: Store) -> None:
    digest = store.put_bytes(b"hello")
    path = store.path_of(digest)
    path.chmod(0o644)
    path.write_bytes(b"he")
    store.put_bytes(b"hello")
    assert store.get_bytes(digest) == b"hello"


def test_a_damaged_tree_is_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "x").write_text("x")
    digest = store.put(tmp_path / "t").digest
    path = store.path_of(digest, "trees")
    path.chmod(0o644)
    for broken in (path.read_bytes().replace(b'"x"', b'"y"'), b"\xff", b"[]"):
        path.write_bytes(broken)
        with pytest.raises(DataDamaged, match=digest):
            store.read_tree(digest)


def test_what_is_not_stored_is_not_found(store: Store) -> None:
    absent = Content(kind="file", digest="0" * 64, size_bytes=0)
    assert not store.has(absent)
    for read in (store.get_bytes, store.open, store.read_tree):
        with pytest.raises(NotFound, match="0000"):
            read("0" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_only_digests_name_objects(store: Store, name: str) -> None:
    with pytest.raises(InvalidInput, match="digest"):
        store.get_bytes(name)


def test_missing_sources_are_named(store: Store, tmp_path: Path) -> None:
    for put in (store.put, store.put_file, store.put_tree):
        with pytest.raises(NotFound, match="nothing"):
            put(tmp_path / "nothing")


# A limit on the size of a file is the one kind of full disk that any user can have.
FULL = """
    import resource, sys
    from pathlib import Path
    from lockgate.errors import StorageFull
    from lockgate.store.store import Store
    from lockgate.store.actions import Actions
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    store, root = Store(Path(sys.argv[1])), Path(sys.argv[2])
    attempts = (lambda: store.put_bytes(bytes(200_000)), lambda: store.put_file(root / "small"),
                lambda: store.put_file(root / "big"), lambda: store.put_tree(root),
                lambda: Actions(store.root / "actions").put("0" * 64, bytes(200_000)))
    for attempt in attempts:
        try:
            attempt()
        except StorageFull as error:
            assert "lockgate gc" in str(error)
        else:
            raise SystemExit("no error")
"""


def test_a_full_disk_is_named_and_leaves_nothing_half_written(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "t"
    root.mkdir()
    (root / "small").write_bytes(bytes(150_000))
    (root / "big").write_bytes(bytes(5_000_000))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), str(store.root), str(root)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_a_small_device_that_runs_full_is_named_and_keeps_what_it_had(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from lockgate.errors import StorageFull
        from lockgate.store.store import Store
        store = Store(Path(sys.argv[1]) / "store")
        kept = store.put_bytes(b"k" * 1000)
        try:
            store.put_bytes(b"x" * 2_000_000)
        except StorageFull as error:
            assert "No space left" in str(error), error
        else:
            raise SystemExit("no error")
        assert store.get_bytes(kept) == b"k" * 1000
        assert not list((store.root / "tmp").iterdir())
        assert len(list((store.root / "files").glob("*/*"))) == 1
    """
    mount = 'mount -t tmpfs -o size=512k tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-mr", "sh", "-c", mount, "sh", tmp_path, sys.executable, textwrap.dedent(script)],
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"this machine lets nobody mount a small device: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_atomic_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x", b"old")
    write_atomically(tmp_path / "x", b"new", durable=False)
    assert (tmp_path / "x").read_bytes() == b"new"
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(OSError):
        write_atomically(tmp_path / "folder", b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "x"]


def test_a_full_disk_is_left_by_what_frees_it(tmp_path: Path) -> None:
    with pytest.raises(StorageFull) as full, naming_full_disk(tmp_path / "lockgate-copy-x" / "file"):
        raise OSError(errno.ENOSPC, "no space")
    assert full.value.hint is not None and "lockgate gc" in full.value.hint and "TMPDIR" in full.value.hint


def test_storage_full_says_that_a_retry_helps() -> None:
    assert StorageFull.exit_code == 5
