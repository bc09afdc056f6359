"""Bootstrap resamples as counts: how often each row was drawn, in blocks that bound the memory.

A metric of a resample is the metric of the same rows with these counts as weights, so rows are sorted once and every
resample costs a few passes over small integers. Counts are laid out (rows, resamples): gathering a row's counts copies
one run of memory, and running sums go down the columns in step.

Reference: Efron (1979), Bootstrap methods: another look at the jackknife, Ann. Statist. 7.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int32]
_BLOCK_CELLS = 1 << 21


# `np.random` takes 3 MB and is loaded when it is first named: the metrics without a bootstrap never name it.
def iter_counts(rows: int, resamples: int, rng: "np.random.Generator") -> Iterator[Counts]:
    """Blocks (rows, b) of counts; every column adds up to `rows`, and the columns of all blocks to `resamples`.

    >>> import numpy as np
    >>> blocks = list(iter_counts(5, 7, np.random.default_rng(0)))
    >>> sum(block.shape[1] for block in blocks), set(blocks[0].sum(axis=0).tolist())
    (7, {5})
    """
    width = max(1, min(resamples, _BLOCK_CELLS // max(rows, 1)))
    for start in range(0, resamples, width):
        block = min(width, resamples - start)
        drawn = rng.integers(0, rows, size=(rows, block), dtype=np.int64)
        drawn *= block
        drawn += np.arange(block)
        yield np.bincount(drawn.ravel(), minlength=rows * block).reshape(rows, block).astype(np.int32)
