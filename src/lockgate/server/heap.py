"""What starting up has left in memory: settled once, when everything is imported."""

import ctypes
import gc
import sqlite3
from contextlib import closing

_PAGES_BYTES = 32 * 2**20  # of all connections together; one alone keeps half of it (`sqlite_engine`)


def settle_heap() -> None:
    """Keep what is there out of every garbage collection, and return what was freed to the system.

    Modules stay until the process ends, and looking through them again and again takes half the time of reading a long
    history, whose rows make the collector run. Their byte code was read into memory that is full of holes now, which
    glibc keeps for later: of the control process, 10 MB of 97. Another C library is not asked. And SQLite, whose every
    connection keeps pages of the file, is told how much they may be in this process.
    """
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA soft_heap_limit = {_PAGES_BYTES}")
