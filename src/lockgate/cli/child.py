"""`python -m lockgate.cli.child ...`: the `lockgate` command, stopped when its parent is gone."""

import ctypes
import os
import signal
import sys
import threading
import time

from lockgate.automation.children import PARENT

_PR_SET_PDEATHSIG = 1


def follow_parent(parent: int) -> None:
    """Get SIGTERM when process `parent` dies; at once where it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        # It died before we asked to be told.
        os.kill(os.getpid(), signal.SIGTERM)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    named = os.environ.pop(PARENT, None)
    if named is not None:
        follow_parent(int(named))
    from lockgate.cli.main import main

    main()
