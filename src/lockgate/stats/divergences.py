"""How far apart are two distributions? Effect sizes on counts in common bins, beside the p-values of `two_sample`."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lockgate.errors import InvalidInput
from lockgate.stats.two_sample import Counts, checked_counts


def psi(reference_counts: Counts, current_counts: Counts) -> float:
    """Population stability index: sum of (p - q) ln(p / q) over bins; 0 for equal shares, unbounded above.

    Half a row is added to every bin, so that an empty one costs a finite amount. By custom 0.1 is a small and 0.25 a
    large shift. Noise alone gives about (bins - 1) (1/n + 1/m): read it beside a test. Reference: Siddiqi (2006),
    Credit Risk Scorecards; Yurdakul and Naranjo (2020), Statistical properties of the population stability index.

        >>> psi([500, 300, 200], [500, 300, 200])
        0.0
        >>> round(psi([500, 300, 200], [350, 300, 350]), 3)
        0.137
    """
    reference, current = checked_counts(reference_counts, current_counts)
    p = (reference + 0.5) / (reference + 0.5).sum()
    q = (current + 0.5) / (current + 0.5).sum()
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(reference_counts: Counts, current_counts: Counts) -> float:
    """Jensen-Shannon distance with base 2: a metric from 0 (equal) to 1 (no bin in common).

    Reference: Lin (1991), Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37; Endres and
    Schindelin (2003), A new metric for probability distributions.

        >>> jensen_shannon([10, 0], [0, 5])
        1.0
        >>> round(jensen_shannon([500, 300, 200], [350, 300, 350]), 3)
        0.157
    """
    reference, current = checked_counts(reference_counts, current_counts)
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    divergence = (_entropy(middle) - (_entropy(p) + _entropy(q)) / 2) / np.log(2.0)
    return float(np.sqrt(max(divergence, 0.0)))


def wasserstein(
    edges: Sequence[float] | npt.NDArray[np.float64], reference_counts: Counts, current_counts: Counts
) -> float:
    """Earth mover's distance in the unit of the column, rows taken as spread evenly over their bin.

    `edges` are finite and ascending, one more than bins. Exact for that spread, so at most one bin's width away from
    the distance of the raw rows. Reference: Villani (2009), Optimal Transport, 2.2 (one dimension).

        >>> wasserstein([0.0, 1.0, 2.0], [10, 0], [0, 10])
        1.0
    """
    reference, current = checked_counts(reference_counts, current_counts)
    at = np.asarray(edges, dtype=np.float64)
    if len(at) != len(reference) + 1 or not np.all(np.isfinite(at)) or np.any(np.diff(at) < 0):
        raise InvalidInput(f"{len(reference)} bins need {len(reference) + 1} finite, ascending edges.")
    gap = np.concatenate(([0.0], np.cumsum(reference / reference.sum() - current / current.sum())))
    left, right = gap[:-1], gap[1:]
    # The gap is linear inside a bin: the area under its absolute value, with the triangle pair where it changes sign.
    crossing = left * right < 0
    size = np.abs(left) + np.abs(right)
    area = np.where(crossing, (left**2 + right**2) / np.where(size > 0, 2 * size, 1.0), size / 2)
    return float((area * np.diff(at)).sum())


def _entropy(p: npt.NDArray[np.float64]) -> float:
    return -float((p[p > 0] * np.log(p[p > 0])).sum())
