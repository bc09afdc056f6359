"""What a server holds in memory: bounded when it starts, and settled once, when everything is imported."""

import ctypes
import gc
import sqlite3
from contextlib import closing

_PAGES_BYTES = 16 * 2**20  # of all connections together, as much as one alone may keep (`sqlite_engine`)
_M_ARENA_MAX, _ARENAS = -8, 2  # of mallopt(3)


def bound_heap() -> None:
    """Keep what the process holds on to small. To be called before there are threads.

    glibc keeps for each of them by itself what it freed, and Python's take turns: two places for all save a busy server
    20 MB. Another C library is not asked. Every connection of SQLite's keeps pages of the file: they are bounded for
    all of them together.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_ARENA_MAX, _ARENAS)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA soft_heap_limit = {_PAGES_BYTES}")


def settle_heap() -> None:
    """Keep what is there out of every garbage collection, and return what was freed to the system.

    Modules stay until the process ends, and looking through them again and again takes half the time of reading a long
    history, whose rows make the collector run. Their byte code was read into memory that is full of holes now, which
    glibc keeps for later: of the control process, 10 MB of 97. Another C library is not asked.
    """
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
