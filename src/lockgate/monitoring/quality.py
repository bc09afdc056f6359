"""Data quality: is what production sends of the kind that training saw?

Four expectations a column, all taken from the training profile: values of its type; missing no more often; no
unseen categories; not outside the range. Each is judged by an exact one-sided test, because even in healthy traffic a
few new values lie outside a range that was only ever sampled: of m training rows and n new ones, drawn alike, k new
ones lie beyond the training maximum with a probability of about (n / (n + m))^k (Wilks 1941, Determination of sample
sizes for setting tolerance limits). Unseen categories are expected as often as training saw a category once (Good
1953, The population frequencies of species).
"""

from collections.abc import Iterator
from typing import NamedTuple

from lockgate.data.profile import PREDICTION, CategoricalProfile, ColumnProfile, NumericProfile, Profile
from lockgate.stats.hypergeometric import upper_tail

# Fewer broken rows than this share are not worth an alarm, however significant. A tail that moves beyond the range is
# drift, and told as such; a wrong unit or a sentinel moves more.
_LEAST_SHARE = 0.01
_LEAST_OUTSIDE = 0.05


class _Expectation(NamedTuple):
    column: str
    says: str
    broken: int
    rows: int
    expected: int  # rows of the reference that broke it, or would have
    reference_rows: int
    least_share: float = _LEAST_SHARE


def broken_expectations(reference: Profile, current: Profile, *, alpha: float) -> tuple[str, ...]:
    """Sentences, one a broken expectation. `alpha` bounds the probability of any in healthy traffic (Bonferroni)."""
    asked = [
        expectation
        for name, past in reference.columns.items()
        if name != PREDICTION and name in current.columns
        for expectation in _expectations(name, past, current.columns[name])
    ]
    found = []
    for item in asked:
        if item.broken == 0 or item.broken < item.least_share * item.rows:
            continue
        total, marked = item.rows + item.reference_rows, item.broken + item.expected
        p = upper_tail(item.broken, drawn=item.rows, marked=marked, total=total)
        if p * len(asked) <= alpha:
            share = item.broken / item.rows
            found.append(f"column {item.column!r}: {item.broken} of {item.rows} rows ({share:.2%}) {item.says}")
    return tuple(found)


def _expectations(name: str, past: ColumnProfile, now: ColumnProfile) -> Iterator[_Expectation]:
    was = f"{past.missing / past.rows:.2%} in training" if past.rows and past.missing else "never in training"
    yield _Expectation(name, f"are missing ({was})", now.missing, now.rows, past.missing, past.rows)
    yield _Expectation(name, f"are not of type {past.type}", now.invalid, now.rows, past.invalid, past.rows)
    if isinstance(past, CategoricalProfile) and isinstance(now, CategoricalProfile):
        unseen, once = now.counts[-1], past.counts[-1] + sum(count == 1 for count in past.counts[:-1])
        yield _Expectation(name, "have a category that training did not see", unseen, now.rows, once, past.rows)
    if isinstance(past, NumericProfile) and isinstance(now, NumericProfile):
        nan_was = "never in training" if not past.nan else f"{past.nan / past.rows:.2%} in training"
        yield _Expectation(name, f"are not a number ({nan_was})", now.nan, now.rows, past.nan, past.rows)
        if past.low is not None and past.high is not None:
            sides = (
                (f"are below the training range ({past.low:.6g})", now.counts[0], past.counts[0]),
                (f"are above the training range ({past.high:.6g})", now.counts[-1], past.counts[-1]),
            )
            for says, outside, was_outside in sides:
                yield _Expectation(name, says, outside, now.rows, was_outside, past.rows, _LEAST_OUTSIDE)
