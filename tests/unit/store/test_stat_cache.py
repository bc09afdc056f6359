import os
from pathlib import Path

import pytest

from lockgate.clock import FakeClock, SystemClock
from lockgate.errors import InvalidInput
from lockgate.hashing import digest_bytes
from lockgate.store.snapshot import snapshot
from lockgate.store.stat_cache import StatCache

LATER = 10_000_000_000_000  # 2286, long after every file of a test was written


def unreadable_but_same(path: Path) -> None:
    """Change the bytes behind the cache's back: same size, and the entry says that nothing happened."""
    path.write_bytes(b"X" * path.stat().st_size)


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    found = (tmp_path / "x").stat()
    cache_long_after(tmp_path).digest(tmp_path / "x")
    cache = cache_long_after(tmp_path)
    cache.digest(tmp_path / "x")
    cache.save()
    unreadable_but_same(tmp_path / "x")
    assert cache_long_after(tmp_path).digest(tmp_path / "x", found) == digest_bytes(b"abc")


def cache_long_after(tmp_path: Path) -> StatCache:
    return StatCache(tmp_path / "stats", clock=FakeClock(LATER))


@pytest.mark.parametrize("change", ["content", "size", "replaced", "same size and time"])
def test_a_changed_file_is_read_again(tmp_path: Path, change: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    cache = cache_long_after(tmp_path)
    cache.digest(path)
    before = path.stat()
    if change == "replaced":
        (tmp_path / "y").write_bytes(b"xyz")
        (tmp_path / "y").replace(path)
    else:
        path.write_bytes(b"wxyz" if change == "size" else b"xyz")
    if change == "same size and time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        while path.stat().st_ctime_ns == before.st_ctime_ns:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert cache.digest(path) == digest_bytes(path.read_bytes())


def test_a_file_written_within_the_tick_is_never_trusted(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for i in range(300):
        cache = StatCache(tmp_path / "stats", clock=SystemClock())
        path.write_bytes(b"%03d" % i)
        assert cache.digest(path) == digest_bytes(b"%03d" % i)
        cache.save()


def test_a_clock_that_runs_behind_only_costs_time(tmp_path: Path) -> None:
    cache = StatCache(tmp_path / "stats", clock=FakeClock(0))
    (tmp_path / "x").write_bytes(b"abc")
    assert cache.digest(tmp_path / "x") == digest_bytes(b"abc")
    cache.save()
    assert not (tmp_path / "stats").exists()


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x81\xa1a\x01"])
def test_a_broken_cache_file_counts_as_none(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "stats").write_bytes(garbage)
    (tmp_path / "x").write_bytes(b"abc")
    assert cache_long_after(tmp_path).digest(tmp_path / "x") == digest_bytes(b"abc")


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    cache = cache_long_after(tmp_path)
    cache.digest(tmp_path / "x")
    (tmp_path / "x").unlink()
    assert cache.prune() == 1
    assert cache.prune() == 0


def test_a_snapshot_equals_what_the_store_would_say(tmp_path: Path) -> None:
    from lockgate.store.store import Store

    (tmp_path / "t" / "sub").mkdir(parents=True)
    (tmp_path / "t" / "sub" / "x").write_text("x")
    (tmp_path / "t" / "y").symlink_to("sub/x")
    cache = cache_long_after(tmp_path)
    store = Store(tmp_path / "store")
    assert snapshot(tmp_path / "t", cache) == store.put(tmp_path / "t")
    assert snapshot(tmp_path / "t" / "y", cache) == store.put(tmp_path / "t" / "y")
    assert snapshot(tmp_path / "none", cache) is None
    assert snapshot(tmp_path / "t" / "y" / "none", cache) is None


def test_a_device_has_no_content(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="neither"):
        snapshot(Path("/dev/null"), cache_long_after(tmp_path))
