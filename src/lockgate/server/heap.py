"""Memory that starting up has left behind."""

import ctypes


def give_back_freed() -> None:
    """Return what was freed to the system, where the C library knows how (glibc); elsewhere nothing.

    Reading the byte code of 800 modules leaves holes all over the heap, which glibc keeps for later: of the control
    process, 10 MB of 97. Asking once, when everything is imported, costs some milliseconds.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
