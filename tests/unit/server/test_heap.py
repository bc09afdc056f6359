import platform
import re
from pathlib import Path

import pytest

from lockgate.server.heap import give_back_freed

PIECE = 20_000  # above the interpreter's own allocator, below what glibc takes from the system for itself


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
    give_back_freed()

    assert before - resident_mb() > 0.5 * 3000 * PIECE / 2**20
    assert len(last) == PIECE
