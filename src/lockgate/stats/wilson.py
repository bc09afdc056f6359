"""An interval for a proportion that keeps its coverage near 0 and 1 and in small samples."""

import math
from statistics import NormalDist

from lockgate.errors import InvalidInput


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's two-sided interval for the probability behind `successes` out of `trials`.

    Reference: Wilson (1927), JASA 22; Brown, Cai and DasGupta (2001), Interval estimation for a binomial proportion,
    Statistical Science 16. Raises InvalidInput where the counts cannot be.

        >>> low, high = wilson_interval(90, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)
        >>> wilson_interval(0, 20)[0]
        0.0
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise InvalidInput(f"{successes} successes in {trials} trials cannot be.")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    spread = 1 + z * z / trials
    center = (share + z * z / (2 * trials)) / spread
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / spread
    low = 0.0 if successes == 0 else max(center - half, 0.0)
    high = 1.0 if successes == trials else min(center + half, 1.0)
    return low, high
