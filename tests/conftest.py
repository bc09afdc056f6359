"""What every test may rely on, however pytest was started."""

import signal

from hypothesis import settings

# A shell starts what it puts in the background with SIGINT ignored, and children inherit that; tests press Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine an example may take any time, and tests never assert on time.
settings.register_profile("lockgate", deadline=None)
settings.load_profile("lockgate")
