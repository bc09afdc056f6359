import gc
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
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


def test_connections_to_sqlite_share_what_they_keep_of_its_file(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "lockgate.db")) as connection, connection:
        connection.execute("CREATE TABLE much (piece BLOB)")
        connection.executemany("INSERT INTO much VALUES (zeroblob(?))", [(3000,)] * 5000)
    reading = f"""
import re
from pathlib import Path
from lockgate.metadata.sqlite_engine import make_engine
from lockgate.server.heap import bound_heap

def resident_mb():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

engine = make_engine(Path({str(tmp_path / "lockgate.db")!r}))
bound_heap()
connections = [engine.raw_connection() for _ in range(6)]
before = resident_mb()
for connection in connections:
    connection.cursor().execute("SELECT max(length(hex(piece))) FROM much").fetchall()
    print(resident_mb() - before)
"""
    done = subprocess.run([sys.executable, "-c", reading], capture_output=True, text=True, check=True)
    grown = [float(line) for line in done.stdout.splitlines()]
    assert 14 < grown[0] < 20  # one alone keeps the file
    assert grown[-1] < 24
