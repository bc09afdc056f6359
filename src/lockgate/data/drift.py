"""Two profiles with the same bins -> which columns have changed, and by how much.

A column has drifted when the difference is significant after correction for the number of columns *and* large enough to
matter: with a million rows everything is significant, and with a hundred every effect size is noise. Missing values
count: a column that has become empty has drifted.
"""

from collections.abc import Collection
from itertools import accumulate

from lockgate.data.profile import CategoricalProfile, ColumnProfile, NumericProfile, Profile
from lockgate.entities import ColumnDrift
from lockgate.stats.corrections import benjamini_hochberg
from lockgate.stats.divergences import psi
from lockgate.stats.two_sample import chi_square, ks_binned

# The population stability index is read on about this many bins of equal reference share: on more it is mostly noise.
_EFFECT_BINS = 10
# Numbers with this few distinct values are compared as categories: Kolmogorov-Smirnov is blunt on them.
_DISCRETE_BINS = 12


def compare(
    reference: Profile,
    current: Profile,
    *,
    alpha: float,
    min_effect: float,
    columns: Collection[str] | None = None,
) -> tuple[ColumnDrift, ...]:
    """Every comparable column, the drifted and the most significant first.

    `alpha` bounds the probability that any column is called drifted where none is (Benjamini and Hochberg 1995, over
    the columns); `min_effect` is the least population stability index that counts. A column without values on one side
    is compared by its missing ones; a column of times is not compared.
    """
    tested: list[tuple[str, str, float, float, float]] = []
    for name, past in reference.columns.items():
        now = current.columns.get(name)
        if now is None or (columns is not None and name not in columns):
            continue
        tested += [(name, *result) for result in _test(past, now)]
    adjusted = benjamini_hochberg([p for _, _, _, p, _ in tested])
    found = [
        ColumnDrift(
            column=name,
            method=method,
            statistic=statistic,
            p_value=p,
            p_adjusted=q,
            effect=effect,
            drift_detected=q <= alpha and effect >= min_effect,
        )
        for (name, method, statistic, p, effect), q in zip(tested, adjusted, strict=True)
    ]
    return tuple(sorted(found, key=lambda drift: (not drift.drift_detected, drift.p_adjusted, -drift.effect)))


def _test(reference: ColumnProfile, current: ColumnProfile) -> list[tuple[str, float, float, float]]:
    """(method, statistic, p, effect) of one column, or nothing where there is nothing to compare."""
    if reference.rows == 0 or current.rows == 0:
        return []
    if isinstance(reference, CategoricalProfile) and isinstance(current, CategoricalProfile):
        past = [*reference.counts, _absent(reference)]
        now = [*current.counts, _absent(current)]
        result = chi_square(past, now)
        return [("chi-square", result.statistic, result.p_value, psi(past, now))]
    if not (isinstance(reference, NumericProfile) and isinstance(current, NumericProfile)):
        return []
    effect = psi(*_effect_bins(reference, current))
    if len(reference.counts) <= _DISCRETE_BINS:
        result = chi_square([*reference.counts, _absent(reference)], [*current.counts, _absent(current)])
        return [("chi-square", result.statistic, result.p_value, effect)]
    missing = chi_square(
        [sum(reference.counts), _absent(reference)], [sum(current.counts), _absent(current)]
    )  # p is 1 where nothing is missing on either side
    if not (sum(reference.counts) and sum(current.counts)):
        return [("missing", missing.statistic, missing.p_value, effect)]
    values = ks_binned(reference.counts, current.counts)
    if missing.p_value < values.p_value:
        return [("missing", missing.statistic, min(1.0, 2 * missing.p_value), effect)]
    # two looks at one column count twice, unless there was nothing to see in one of them
    looks = 2 if _absent(reference) + _absent(current) else 1
    return [("kolmogorov-smirnov", values.statistic, min(1.0, looks * values.p_value), effect)]


def _absent(column: ColumnProfile) -> int:
    """Rows without a usable value: missing, NaN, or of another type."""
    return column.missing + column.invalid + (column.nan if isinstance(column, NumericProfile) else 0)


def _effect_bins(reference: NumericProfile, current: NumericProfile) -> tuple[list[int], list[int]]:
    """Neighbouring bins taken together until each holds a tenth of the reference, and the absent ones in a bin."""
    total = max(1, sum(reference.counts))
    past, now = [0] * _EFFECT_BINS, [0] * _EFFECT_BINS
    for upto, before, after in zip(accumulate(reference.counts), reference.counts, current.counts, strict=True):
        # a bin belongs to the tenth that its middle lies in
        group = min(int((upto / total - before / total / 2) * _EFFECT_BINS), _EFFECT_BINS - 1)
        past[group] += before
        now[group] += after
    return [*past, _absent(reference)], [*now, _absent(current)]
