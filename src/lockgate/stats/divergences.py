"""How far apart are two distributions? Effect sizes on counts in common bins, beside the p-values of `two_sample`."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

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
    shares = zip(_shares(count + 0.5 for count in reference), _shares(count + 0.5 for count in current), strict=True)
    return math.fsum((p - q) * math.log(p / q) for p, q in shares)


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
    p, q = _shares(reference), _shares(current)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    divergence = (_entropy(middle) - (_entropy(p) + _entropy(q)) / 2) / math.log(2.0)
    return math.sqrt(max(divergence, 0.0))


def wasserstein(edges: Sequence[float], reference_counts: Counts, current_counts: Counts) -> float:
    """Earth mover's distance in the unit of the column, rows taken as spread evenly over their bin.

    `edges` are finite and ascending, one more than bins. Exact for that spread, so at most one bin's width away from
    the distance of the raw rows. Reference: Villani (2009), Optimal Transport, 2.2 (one dimension).

        >>> wasserstein([0.0, 1.0, 2.0], [10, 0], [0, 10])
        1.0
    """
    reference, current = checked_counts(reference_counts, current_counts)
    at = [float(edge) for edge in edges]
    if len(at) != len(reference) + 1 or not all(map(math.isfinite, at)) or any(b < a for a, b in pairwise(at)):
        raise InvalidInput(f"{len(reference)} bins need {len(reference) + 1} finite, ascending edges.")
    gained = (p - q for p, q in zip(_shares(reference), _shares(current), strict=True))
    gaps = pairwise(accumulate(gained, initial=0.0))
    return math.fsum(_area(left, right) * (b - a) for (left, right), (a, b) in zip(gaps, pairwise(at), strict=True))


def _area(left: float, right: float) -> float:
    """Under the absolute value of the line from `left` to `right`: two triangles where it changes sign."""
    size = abs(left) + abs(right)
    return (left**2 + right**2) / (2 * size) if left * right < 0 else size / 2


def _shares(counts: Iterable[float]) -> list[float]:
    known = list(counts)
    total = sum(known)
    return [count / total for count in known]


def _entropy(shares: list[float]) -> float:
    return -math.fsum(share * math.log(share) for share in shares if share > 0)
