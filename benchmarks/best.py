"""How the benchmarks time a piece of work inside one process."""

import time
from collections.abc import Callable


def best_s(work: Callable[[], object], repeat: int) -> float:
    """The least of some runs: other work on the machine can only make a run longer."""
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)
