"""What starting up has left in memory: settled once, when everything is imported."""

import ctypes
import gc


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
