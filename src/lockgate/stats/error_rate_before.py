"""Does a version err more than the one before it did? For two that follow each other instead of sharing the traffic.

Nothing is randomised here, so the earlier error rate must be taken for the rate that would have gone on; a disturbance
of both versions (a client that starts to send nonsense) is put down to the new one. What is known of that rate is its
counts. They give an upper confidence bound, and an e-process tests 'the new version errs no more often than this bound'
request by request, at any number of looks. Should both versions err equally often, then by the union bound the risk is
the bound's plus the e-process's; spend half of it on each.

References: Clopper and Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the
binomial, Biometrika 26(4); Ramdas, Grunwald, Vovk, Shafer (2023), Game-theoretic statistics and safe anytime-valid
inference, Statistical Science 38(4).
"""

import math

from lockgate.errors import InvalidInput
from lockgate.stats.beta import log_beta_above
from lockgate.stats.error_rate import log_share_e_value

# The interval of width one is then 1e-15 wide.
_HALVINGS = 50


def upper_error_rate(errors: int, requests: int, *, alpha: float) -> float:
    """The error rate that the true one exceeds with probability at most `alpha` (Clopper-Pearson); 1 without requests.

    Raises InvalidInput where the counts cannot be.

        >>> round(upper_error_rate(0, 100, alpha=0.05), 4)  # 1 - alpha ** (1 / requests)
        0.0295
        >>> upper_error_rate(0, 0, alpha=0.05)
        1.0
    """
    _require_counts(errors, requests)
    if errors == requests:
        return 1.0
    low, high = errors / requests, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if log_beta_above(middle, errors + 1.0, float(requests - errors)) > math.log(alpha):
            low = middle
        else:
            high = middle
    return high


def error_rate_beyond_e_value(*, errors: int, requests: int, rate: float) -> float:
    """Evidence that requests fail with a probability above `rate`, 1 for none; roll back when it reaches 1/alpha.

    The likelihood ratio of a Beta mixture over probabilities above `rate` against `rate` itself, so it never favours
    'above' where the probability is lower still. Raises InvalidInput where the counts cannot be.

        >>> round(error_rate_beyond_e_value(errors=1, requests=100, rate=0.02), 2)
        0.33
        >>> error_rate_beyond_e_value(errors=10, requests=100, rate=0.02) > 100
        True
        >>> error_rate_beyond_e_value(errors=10, requests=10, rate=1.0)  # nothing lies above
        1.0
    """
    _require_counts(errors, requests)
    if rate >= 1.0:
        return 1.0
    log_e = log_share_e_value(errors, requests - errors, rate)
    return math.exp(log_e) if log_e < 709.0 else math.inf


def _require_counts(errors: int, requests: int) -> None:
    if not 0 <= errors <= requests:
        raise InvalidInput(f"{errors} errors in {requests} requests cannot be.")
