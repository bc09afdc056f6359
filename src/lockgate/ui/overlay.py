"""Two distributions of one column drawn over each other, as an SVG text: training in outline, production filled.

Profiles hold bins of about equal share, which are narrow where values are frequent. For the eye they are counted again
into bins of equal width, each count spread evenly over its bin.
"""

from collections.abc import Sequence
from html import escape

from lockgate.data.profile import CategoricalProfile, ColumnProfile, NumericProfile

_WIDTH, _HEIGHT, _BASE = 360, 120, 100
_BINS = 32
_BARS = 12
# Production may lie far out; the axis shows all of it, but no more than this many times the training range.
_STRETCH = 4.0


def overlay(reference: ColumnProfile, current: ColumnProfile) -> str:
    """The drawing; empty where a column has no bins, and where the two have others than each other."""
    if isinstance(reference, NumericProfile) and isinstance(current, NumericProfile):
        return _numeric(reference, current) if reference.edges == current.edges else ""
    if isinstance(reference, CategoricalProfile) and isinstance(current, CategoricalProfile):
        return _categorical(reference, current) if reference.categories == current.categories else ""
    return ""


def rebin(edges: Sequence[float], counts: Sequence[float], grid: Sequence[float]) -> list[float]:
    """Shares of `counts` in the bins of `grid`; `counts[i]` lies evenly in [edges[i], edges[i + 1]).

    >>> rebin([0, 2, 4], [10, 30], [0, 1, 2, 3, 4])
    [0.125, 0.125, 0.375, 0.375]
    """
    total = sum(counts)
    shares = [0.0] * (len(grid) - 1)
    if not total:
        return shares
    width = grid[1] - grid[0]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        if not count:
            continue
        first = _clamp(int((low - grid[0]) / width), len(shares))
        last = _clamp(int((high - grid[0]) / width), len(shares))
        if first == last or high <= low:
            shares[first] += count / total
            continue
        for i in range(first, last + 1):
            overlap = min(high, grid[i + 1]) - max(low, grid[i])
            shares[i] += max(0.0, overlap) / (high - low) * count / total
    return shares


def _numeric(reference: NumericProfile, current: NumericProfile) -> str:
    if not reference.edges:
        return ""
    first, last = reference.edges[0], reference.edges[-1]
    reach = (last - first) * _STRETCH or 1.0
    low = max(min(first, current.low if current.low is not None else first), first - reach)
    high = min(max(last, current.high if current.high is not None else last), last + reach)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):  # one value; its bin is one rounding step wide
        low, high = low - 0.5, high + 0.5
    grid = [low + (high - low) * i / _BINS for i in range(_BINS + 1)]
    # What lies below and above the training range is spread over what the axis adds there.
    edges = [low, *reference.edges, high]
    before, after = (rebin(edges, profile.counts, grid) for profile in (reference, current))
    labels = [f"{value:.4g}" for value in (low, (low + high) / 2, high)]
    return _drawing(before, after, labels)


def _categorical(reference: CategoricalProfile, current: CategoricalProfile) -> str:
    total_before, total_after = sum(reference.counts) or 1, sum(current.counts) or 1
    rows = [
        (name, a / total_before, b / total_after)
        for name, a, b in zip((*reference.categories, "other"), reference.counts, current.counts, strict=False)
    ]
    if not rows:  # counts may be missing in what others recorded
        return ""
    rows = sorted(rows, key=lambda row: -max(row[1], row[2]))[:_BARS]
    labels = [rows[0][0], rows[-1][0]] if len(rows) > 1 else [row[0] for row in rows]
    return _drawing([row[1] for row in rows], [row[2] for row in rows], labels, names=[row[0] for row in rows])


def _drawing(
    before: Sequence[float], after: Sequence[float], labels: Sequence[str], *, names: Sequence[str] = ()
) -> str:
    top = max((*before, *after), default=0.0) or 1.0
    step = _WIDTH / len(before)
    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{_BASE - share / top * _BASE:.1f}" width="{step * 0.96:.1f}" '
        f'height="{share / top * _BASE:.1f}">{_title(names, i, before[i], share)}</rect>'
        for i, share in enumerate(after)
    )
    outline = f"M0,{_BASE} " + " ".join(
        f"L{i * step:.1f},{_BASE - share / top * _BASE:.1f} L{(i + 1) * step:.1f},{_BASE - share / top * _BASE:.1f}"
        for i, share in enumerate(before)
    )
    anchors = ["start", "middle", "end"] if len(labels) == 3 else ["start", "end"]
    texts = "".join(
        f'<text x="{_WIDTH * i / max(1, len(labels) - 1):.0f}" y="{_HEIGHT - 4}" text-anchor="{anchors[i]}">'
        f"{escape(label[:24])}</text>"
        for i, label in enumerate(labels)
    )
    return (
        f'<svg class="overlay" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f'<g class="current">{bars}</g><path class="reference" d="{outline} L{_WIDTH},{_BASE}"/>{texts}</svg>'
    )


def _title(names: Sequence[str], i: int, before: float, after: float) -> str:
    name = f"{escape(names[i])}: " if names else ""
    return f"<title>{name}training {before:.2%}, production {after:.2%}</title>"


def _clamp(i: int, size: int) -> int:
    return max(0, min(i, size - 1))
