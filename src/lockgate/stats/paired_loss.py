"""Is the candidate worse on the rows that both models answer? An e-process on paired losses, valid at every look.

A gambler bets against 'on average the candidate's loss exceeds the champion's by no more than the margin', and bets
only on what was seen before: wealth is a supermartingale while the statement holds, whatever the distribution and its
drift, so P(ever wealth >= 1/alpha) <= alpha.

Reference: Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86 (the
aGRAPA bets); Ville (1939).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lockgate.errors import InvalidInput

Floats = npt.NDArray[np.float64]

# A bet never risks more than three quarters of the wealth on one row.
_LARGEST_STAKE = 0.75
_GRID = 401


class MeanInterval(NamedTuple):
    low: float
    high: float


def paired_loss_wealth(differences: Floats, *, margin: float = 0.0) -> Floats:
    """Wealth after each row; call the candidate worse as soon as it reaches 1/alpha.

    `differences` are candidate's loss - champion's loss, in [-1, 1], in the order in which the rows came. Raises
    InvalidInput where one is not, or the margin is not in [0, 1).

        >>> import numpy as np
        >>> rng = np.random.default_rng(7)
        >>> worse = (rng.random(2000) < 0.30).astype(float) - (rng.random(2000) < 0.20)
        >>> float(paired_loss_wealth(worse).max()) > 20
        True
    """
    x = _to_unit(differences)
    if not 0.0 <= margin < 1.0:
        raise InvalidInput(f"the margin of a paired loss lies in [0, 1), not {margin!r}.")
    mean, variance = _seen_before(x)
    return np.exp(_log_wealth(x, (1.0 + margin) / 2.0, mean, variance))


def paired_loss_interval(differences: Floats, *, confidence: float = 0.95) -> MeanInterval:
    """Where the mean difference lies after all these rows: a confidence sequence, so any row may be the last.

    Promotion asks that `high` lies below the tolerated margin, rollback that `low` lies above it.

        >>> import numpy as np
        >>> rng = np.random.default_rng(7)
        >>> d = (rng.random(4000) < 0.30).astype(float) - (rng.random(4000) < 0.20)
        >>> interval = paired_loss_interval(d)
        >>> interval.low < 0.1 < interval.high, interval.low > 0.0
        (True, True)
    """
    x = _to_unit(differences)
    if len(x) == 0:
        return MeanInterval(-1.0, 1.0)
    mean, variance = _seen_before(x)
    mirrored = 1.0 - x
    mirrored_mean = 1.0 - mean
    limit = np.log(2.0 / (1.0 - confidence))  # two one-sided sequences share the risk
    grid = np.linspace(0.0, 1.0, _GRID)[1:-1]
    above = [m for m in grid if _log_wealth(x, m, mean, variance).max() < limit]
    below = [m for m in grid if _log_wealth(mirrored, 1.0 - m, mirrored_mean, variance).max() < limit]
    step = 1.0 / (_GRID - 1)
    # One step of the grid wider at both ends: what lies between two tested means is not excluded.
    low = max(min(above, default=1.0) - step, 0.0)
    high = min(max(below, default=0.0) + step, 1.0)
    return MeanInterval(float(2 * low - 1), float(2 * high - 1))


def _to_unit(differences: Floats) -> Floats:
    d = np.asarray(differences, dtype=np.float64)
    if len(d) and not (np.abs(d) <= 1.0).all():
        raise InvalidInput("paired loss differences must lie in [-1, 1]; scale the loss to [0, 1] first.")
    return (d + 1.0) / 2.0


def _seen_before(x: Floats) -> tuple[Floats, Floats]:
    """Regularised mean and variance of the rows before each row: no bet knows its own outcome."""
    count = np.arange(1, len(x) + 1)
    running_mean = (0.5 + np.cumsum(x)) / (count + 1)
    running_variance = (0.25 + np.cumsum((x - running_mean) ** 2)) / (count + 1)
    return np.concatenate(([0.5], running_mean[:-1])), np.concatenate(([0.25], running_variance[:-1]))


def _log_wealth(x: Floats, m: float, mean: Floats, variance: Floats) -> Floats:
    edge = mean - m
    stake = np.clip(edge / (variance + edge**2), 0.0, _LARGEST_STAKE / m)
    return np.cumsum(np.log1p(stake * (x - m)))
