"""One thread a call: how models run in production, and therefore how they are measured.

A model answers one row in less time than its library needs to wake a second thread, and on a busy machine threads that
wait for each other are the difference between 5 ms and 1,700 ms (gradient boosting, one row, two busy cores).
"""

from contextlib import AbstractContextManager


def one_thread() -> AbstractContextManager[object]:
    """Limit BLAS and OpenMP to one thread, from now until the block ends; without a block, for good."""
    import threadpoolctl

    limits: AbstractContextManager[object] = threadpoolctl.threadpool_limits(limits=1)
    return limits
