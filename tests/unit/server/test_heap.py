import gc
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.server.heap import settle_heap

PIECE = 20_000  # above the interpreter's own allocator, below what glibc takes from the system for itself


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def resident_mb() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_memory_freed_below_what_is_still_in_use_goes_back_to_the_system() -> None:
    pieces = [bytearray(PIECE) for _ in range(3000)]
    last = pieces[-1]  # lies above the others and keeps the heap from shrinking by itself
    del pieces

    before = resident_mb()
    settle_heap()

    assert before - resident_mb() > 0.5 * 3000 * PIECE / 2**20
    assert len(last) == PIECE


def test_what_is_there_is_looked_through_no_more() -> None:
    kept: list[list[object]] = [[] for _ in range(1000)]
    settle_heap()
    assert gc.get_freeze_count() > len(kept)
    assert len(gc.get_objects()) < len(kept)
