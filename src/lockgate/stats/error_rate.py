"""Does the canary err more than the stable version? An e-process on two error counters, valid at every look.

Requests are assigned at random, a share `w` of them to the canary. Where both versions err equally often, an error fell
on the canary with probability w, whatever the error rate is and however it changes over the day: only errors carry
evidence. The e-value is the likelihood ratio of a Beta mixture over theta > w against w, so the composite null 'the
canary errs no more often' is covered too. By Ville's inequality P(ever E >= 1/alpha) <= alpha under the null, with one
look or with one after every request.

References: Ville (1939), Etude critique de la notion de collectif; Robbins (1970), Statistical methods related to the
law of the iterated logarithm, Ann. Math. Statist. 41; Ramdas, Grunwald, Vovk, Shafer (2023), Game-theoretic statistics
and safe anytime-valid inference, Statistical Science 38(4).
"""

import math

from lockgate.errors import InvalidInput
from lockgate.stats.beta import log_beta, log_beta_above

# How many errors the prior is worth. 20 puts its mass at ratios that matter (a canary that errs 1.2 to 5 times as
# often); see benchmarks/gates.py for the delays that follow from it.
_PRIOR_WEIGHT = 20.0


def error_rate_e_value(
    *, canary_errors: int, canary_requests: int, stable_errors: int, stable_requests: int, canary_share: float
) -> float:
    """Evidence that the canary errs more often than the stable version: roll back when it reaches 1/alpha.

    The counters must cover one period in which `canary_share` was constant and the assignment random; e-values of
    several such periods (the steps of a rollout) multiply. Infinity where it exceeds the largest float. Raises
    InvalidInput where the counters contradict themselves.

        >>> round(error_rate_e_value(canary_errors=2, canary_requests=100, stable_errors=18, stable_requests=900,
        ...                          canary_share=0.1), 2)
        0.73
        >>> error_rate_e_value(canary_errors=15, canary_requests=100, stable_errors=18, stable_requests=900,
        ...                    canary_share=0.1) > 100
        True
    """
    for name, errors, requests in (
        ("canary", canary_errors, canary_requests),
        ("stable", stable_errors, stable_requests),
    ):
        if not 0 <= errors <= requests:
            raise InvalidInput(f"{name}: {errors} errors in {requests} requests cannot be.")
    log_e = log_share_e_value(canary_errors, stable_errors, canary_share)
    return math.exp(log_e) if log_e < 709.0 else math.inf


def log_share_e_value(canary_events: int, stable_events: int, canary_share: float) -> float:
    """Natural logarithm of the e-value against 'an event falls on the canary with probability `canary_share`'.

    Minus infinity where the evidence for the null is beyond the smallest float: the safe side.

        >>> log_share_e_value(0, 0, 0.1)
        0.0
    """
    if not 0.0 < canary_share < 1.0:
        raise InvalidInput(f"the canary's share of requests must lie between 0 and 1, not {canary_share!r}.")
    a, b = _PRIOR_WEIGHT * canary_share, _PRIOR_WEIGHT * (1.0 - canary_share)
    prior = log_beta(a, b) + log_beta_above(canary_share, a, b)
    after_a, after_b = a + canary_events, b + stable_events
    mixture = log_beta(after_a, after_b) + log_beta_above(canary_share, after_a, after_b)
    null = canary_events * math.log(canary_share) + stable_events * math.log1p(-canary_share)
    return mixture - prior - null
