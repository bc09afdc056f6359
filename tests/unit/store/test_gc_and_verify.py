import os
from pathlib import Path

import pytest

from lockgate.clock import SystemClock
from lockgate.errors import DataDamaged
from lockgate.store.actions import Actions
from lockgate.store.gc import digests_in, gc
from lockgate.store.store import Store
from lockgate.store.verify import remove_damage, verify

CLOCK = SystemClock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def tree(store: Store, root: Path, **files: str) -> str:
    root.mkdir()
    for name, text in files.items():
        (root / name).write_text(text)
    return store.put(root).digest


def age(store: Store) -> None:
    for path in store.root.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))


def stored(store: Store) -> set[str]:
    return {path.parent.name + path.name for kind in ("files", "trees") for path in (store.root / kind).glob("*/*")}


def test_only_what_nothing_names_is_deleted(store: Store, tmp_path: Path) -> None:
    kept = tree(store, tmp_path / "kept", a="1", b="2")
    dropped = tree(store, tmp_path / "dropped", b="2", c="3")
    single, lost = store.put_bytes(b"single"), store.put_bytes(b"lost")
    age(store)
    done = gc(store, [kept, single, "f" * 64], clock=CLOCK)
    assert set(done.deleted) == {dropped, lost, store_digest(b"3")}
    assert done.deleted_bytes > 0
    assert stored(store) == {kept, single, store_digest(b"1"), store_digest(b"2")}


def store_digest(data: bytes) -> str:
    from lockgate.hashing import digest_bytes

    return digest_bytes(data)


def test_a_dry_run_deletes_nothing(store: Store) -> None:
    digest = store.put_bytes(b"x")
    age(store)
    assert gc(store, [], clock=CLOCK, dry_run=True).deleted == (digest,)
    assert store.get_bytes(digest) == b"x"


def test_what_is_young_stays(store: Store) -> None:
    store.put_bytes(b"x")
    assert gc(store, [], clock=CLOCK).deleted == ()
    assert gc(store, [], clock=CLOCK, grace_s=-1).deleted != ()


def test_storing_the_same_content_again_makes_it_young(store: Store, tmp_path: Path) -> None:
    digest = store.put_bytes(b"x")
    content_tree = tree(store, tmp_path / "t", a="1")
    content = store.put(tmp_path / "t")
    age(store)
    store.put_bytes(b"x")
    assert store.put(tmp_path / "t") == content
    assert gc(store, [], clock=CLOCK).deleted == ()
    assert {digest, content_tree} <= stored(store)


def test_nothing_is_deleted_when_a_tree_to_keep_is_damaged(store: Store, tmp_path: Path) -> None:
    kept = tree(store, tmp_path / "kept", a="1")
    store.put_bytes(b"lost")
    path = store.path_of(kept, "trees")
    path.chmod(0o644)
    path.write_bytes(b"[]")
    age(store)
    before = stored(store)
    with pytest.raises(DataDamaged):
        gc(store, [kept], clock=CLOCK)
    assert stored(store) == before


def test_what_killed_writers_left_goes_after_the_grace_period(store: Store) -> None:
    store.put_bytes(b"x")
    orphan = store.root / "tmp" / "123-abc"
    orphan.write_bytes(b"half")
    gc(store, [], clock=CLOCK)
    assert orphan.exists()
    age(store)
    gc(store, [], clock=CLOCK)
    assert not orphan.exists()


def test_digests_are_found_in_any_document() -> None:
    a, b = "a" * 64, "0" * 64
    assert digests_in(f"x: {{file: {a}}} {b}\n{'c' * 65} {'D' * 64}".encode()) == {a, b}


def test_a_sound_store_has_no_damage(store: Store, tmp_path: Path) -> None:
    tree(store, tmp_path / "t", a="1", b="2")
    assert list(verify(store)) == []
    assert list(verify(Store(tmp_path / "none"))) == []


def test_every_kind_of_damage_is_listed_and_removal_lets_it_be_stored_again(store: Store, tmp_path: Path) -> None:
    damaged = store.put_bytes(b"hello")
    holed = tree(store, tmp_path / "t", a="1")
    broken = tree(store, tmp_path / "u", b="2")
    store.path_of(store_digest(b"1")).unlink()
    for path, data in ((store.path_of(damaged), b"jello"), (store.path_of(broken, "trees"), b"{")):
        path.chmod(0o644)
        path.write_bytes(data)
    (store.root / "files" / "zz").mkdir()
    (store.root / "files" / "zz" / "notes.txt").write_text("mine")
    found = list(verify(store))
    assert {(item.kind, item.digest) for item in found} == {
        ("file", damaged),
        ("missing", holed),
        ("tree", broken),
        ("stray", "zznotes.txt"),
    }
    for item in found:
        remove_damage(item)
    assert list(verify(store)) == []
    store.put_bytes(b"hello")
    store.put(tmp_path / "t")
    assert list(verify(store)) == []


def test_actions_answer_by_identity_newest_first(tmp_path: Path) -> None:
    actions = Actions(tmp_path / "actions")
    one, two = "1" * 64, "2" * 64
    assert actions.get(one) is None
    assert actions.newest_first() == []
    actions.put(one, b"first")
    actions.put(two, b"second")
    actions.put(one, b"third")
    assert actions.get(one) == b"third"
    os.utime(tmp_path / "actions" / "11" / ("1" * 62), ns=(5, 5))
    assert [key for key, _ in actions.newest_first()] == [two, one]
    actions.remove(two)
    actions.remove(two)
    assert actions.get(two) is None
