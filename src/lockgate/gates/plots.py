"""The report's drawings, as SVG: candidate beside champion on the same axes.

Colours of text and ground are two marker values, so that the page can put its own in their place (light or dark).
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lockgate.gates.evaluate import Evaluation
from lockgate.gates.judge import Judgement
from lockgate.stats.metrics import BINARY, REGRESSION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

INK, PAPER = "#333335", "#fefefe"
CANDIDATE, CHAMPION = "#2f7ed8", "#e08a1e"
_FAINT = "#8a8a8e"
_POINTS = 400  # of a curve; more are not seen and only make the page heavy
_DOTS = 1500
_BINS = 10
_MOST_BARS = 40


class Plot(NamedTuple):
    """`name` is the file's stem; `caption` says how to read it."""

    name: str
    title: str
    caption: str
    svg: str


Model = tuple[str, str, Evaluation]  # label, colour, what it answered


def draw_plots(judgement: Judgement) -> list[Plot]:
    """Whatever these predictions allow; empty where there is no evaluation that can be judged."""
    models = _models(judgement)
    if not models:
        return []
    plots: list[Plot] = []
    if judgement.project.task == REGRESSION:
        plots.append(_residuals(models))
    elif models[0][2].answers is not None and models[0][2].answers.scores is not None:
        plots.append(_ranking(models))
    if judgement.project.task == REGRESSION or _has_scores(models[0][2]):
        plots.append(_calibration(models))
    if any(row.gain is not None for row in judgement.table):
        plots.append(_gains(judgement))
    if any(value.value is not None for value in judgement.slices):
        plots.append(_slices(judgement))
    return plots


def for_page(svg: str) -> str:
    """The same drawing in the page's own colours, to be put inside it."""
    inline = svg[svg.index("<svg") :]
    return inline.replace(INK, "currentColor").replace(PAPER, "none")


def _models(judgement: Judgement) -> list[Model]:
    named = (("candidate", CANDIDATE, judgement.evaluation), ("champion", CHAMPION, judgement.champion_evaluation))
    return [(name, colour, one) for name, colour, one in named if one is not None and one.answers is not None]


def _has_scores(evaluation: Evaluation) -> bool:
    return evaluation.answers is not None and evaluation.answers.scores is not None


# -- classification ---------------------------------------------------------------------------------------------------


def _ranking(models: Sequence[Model]) -> Plot:
    figure, (left, right) = _figure(2)
    for label, colour, evaluation in models:
        pooled = _pooled(evaluation)
        if pooled is None:
            continue
        is_positive, scores = pooled
        fpr, tpr, precision = _curves(is_positive, scores)
        left.plot(*_thinned(fpr, tpr), color=colour, label=label)
        right.plot(*_thinned(tpr[1:], precision[1:]), color=colour, label=label)
    left.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, linestyle=":")
    left.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.02))
    right.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    right.legend(frameon=False, labelcolor=INK, loc="lower left")
    how = "" if models[0][2].rows.task == BINARY else " Each class against the rest, all pooled."
    caption = f"Every threshold of the score. Further to the upper left, and to the upper right, is better.{how}"
    return Plot("ranking", "Ranking", caption, _svg(figure))


def _pooled(evaluation: Evaluation) -> tuple[npt.NDArray[np.bool_], Floats] | None:
    rows = evaluation.rows
    assert evaluation.answers is not None
    scores = evaluation.answers.scores
    if scores is None:
        return None
    if scores.ndim == 1:
        is_positive = np.asarray(rows.truth == rows.positive)
    else:
        is_positive = (rows.truth[:, None] == np.asarray(rows.classes)[None, :]).ravel()
    return None if is_positive.all() or not is_positive.any() else (is_positive, scores.ravel())


def _curves(is_positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """False and true positive rate, and precision, at every threshold from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true = np.concatenate(([0.0], np.cumsum(is_positive[order])[ends]))
    false = np.concatenate(([0.0], np.cumsum(~is_positive[order])[ends]))
    precision = true / np.maximum(true + false, 1)
    return false / false[-1], true / true[-1], precision


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    if len(x) <= _POINTS:
        return x, y
    at = np.unique(np.linspace(0, len(x) - 1, _POINTS).astype(np.int64))
    return x[at], y[at]


def _calibration(models: Sequence[Model]) -> Plot:
    is_regression = models[0][2].rows.task == REGRESSION
    figure, (left, right) = _figure(2)
    span: list[float] = []
    for label, colour, evaluation in models:
        expected, happened = _expected_and_happened(evaluation)
        if expected is None or happened is None:
            continue
        mean_expected, mean_happened = _in_bins(expected, happened)
        span += [float(mean_expected.min()), float(mean_expected.max())]
        left.plot(mean_expected, mean_happened, "o-", color=colour, label=label, markersize=4)
        right.hist(expected, bins=30, histtype="step", color=colour, linewidth=1.4)
    if is_regression and span:
        left.plot([min(span), max(span)], [min(span), max(span)], color=_FAINT, linewidth=0.8, linestyle=":")
        left.set(title="Calibration", xlabel="mean prediction", ylabel="mean truth")
        right.set(title="Predictions", xlabel="prediction", ylabel="rows")
        caption = "Rows in ten groups of ascending prediction. On the dotted line predictions are right on average."
    else:
        left.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, linestyle=":")
        what = "score" if models[0][2].rows.task == BINARY else "probability of the predicted class"
        left.set(title="Calibration", xlabel=f"mean {what}", ylabel="share that came true", ylim=(-0.02, 1.02))
        right.set(title="Scores", xlabel=what, ylabel="rows")
        caption = (
            "Rows in ten groups of ascending score. On the dotted line a score of 0.8 comes true in 80 % of cases."
        )
    left.legend(frameon=False, labelcolor=INK)
    return Plot("calibration", "Calibration", caption, _svg(figure))


def _expected_and_happened(evaluation: Evaluation) -> tuple[Floats | None, Floats | None]:
    rows = evaluation.rows
    assert evaluation.answers is not None
    predictions, scores = evaluation.answers
    if rows.task == REGRESSION:
        return predictions, rows.truth
    if scores is None:
        return None, None
    if scores.ndim == 1:
        return scores, (rows.truth == rows.positive).astype(np.float64)
    top = np.asarray(rows.classes)[scores.argmax(axis=1)]
    return scores.max(axis=1), (top == rows.truth).astype(np.float64)


def _in_bins(expected: Floats, happened: Floats) -> tuple[Floats, Floats]:
    groups = np.array_split(np.argsort(expected, kind="stable"), min(_BINS, len(expected)))
    return (
        np.array([expected[group].mean() for group in groups]),
        np.array([happened[group].mean() for group in groups]),
    )


# -- regression -------------------------------------------------------------------------------------------------------


def _residuals(models: Sequence[Model]) -> Plot:
    figure, (left, right) = _figure(2)
    for label, colour, evaluation in reversed(models):
        assert evaluation.answers is not None
        predictions = evaluation.answers.predictions
        errors = predictions - evaluation.rows.truth
        step = max(1, len(errors) // _DOTS)
        left.plot(predictions[::step], errors[::step], ".", color=colour, alpha=0.35, markersize=3, label=label)
        right.hist(errors, bins=40, histtype="step", color=colour, linewidth=1.4, label=label)
    left.axhline(0, color=_FAINT, linewidth=0.8, linestyle=":")
    left.set(title="Residuals", xlabel="prediction", ylabel="prediction - truth")
    right.set(title="Their distribution", xlabel="prediction - truth", ylabel="rows")
    right.legend(frameon=False, labelcolor=INK)
    return Plot("residuals", "Residuals", "Above zero a prediction was too high. Narrower is better.", _svg(figure))


# -- both -------------------------------------------------------------------------------------------------------------


def _gains(judgement: Judgement) -> Plot:
    rows = [row for row in judgement.table if row.gain is not None and row.champion_value][::-1]
    figure, (axes,) = _figure(1, height=1.1 + 0.3 * len(rows))
    for i, row in enumerate(rows):
        assert row.gain is not None and row.low is not None and row.high is not None and row.champion_value
        scale = 100 / abs(row.champion_value)
        colour = CANDIDATE if row.low > 0 else CHAMPION if row.high < 0 else _FAINT
        axes.plot([row.low * scale, row.high * scale], [i, i], color=colour, linewidth=2.2)
        axes.plot([row.gain * scale], [i], "o", color=colour, markersize=5)
    axes.axvline(0, color=_FAINT, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(rows)), [row.metric for row in rows])
    axes.set(xlabel="gain over the champion, in % of the champion's value", ylim=(-0.7, len(rows) - 0.3))
    caption = "With 95 % bounds, rows resampled in pairs. Right of the line the candidate is better."
    return Plot("gains", "Candidate against champion", caption, _svg(figure))


def _slices(judgement: Judgement) -> Plot:
    values = [value for value in judgement.slices if value.value is not None][:_MOST_BARS]
    labels = [f"{value.name} ({value.support:,})" for value in values]
    if len({value.metric for value in values}) > 1:
        labels = [f"{value.metric}: {label}" for value, label in zip(values, labels, strict=True)]
    at = np.arange(len(values))[::-1]
    figure, (axes,) = _figure(1, height=1.1 + 0.28 * len(values))
    axes.barh(at, [value.value or 0.0 for value in values], color=CANDIDATE, height=0.62, alpha=0.85)
    for y, value in zip(at, values, strict=True):
        assert value.value is not None
        half = 1.96 * value.standard_error
        axes.plot([value.value - half, value.value + half], [y, y], color=INK, linewidth=1.1)
        if value.champion_value is not None:
            axes.plot([value.champion_value], [y], "|", color=CHAMPION, markersize=13, markeredgewidth=2.4)
    axes.set_yticks(at, labels)
    axes.set(xlabel=", ".join(dict.fromkeys(value.metric for value in values)), ylim=(-0.7, len(values) - 0.3))
    caption = (
        "Candidate with 95 % bounds; the mark is the champion. In brackets the rows that the metric is computed on."
    )
    return Plot("slices", "Slices", caption, _svg(figure))


# -- drawing ----------------------------------------------------------------------------------------------------------


def _figure(axes: int, *, height: float = 3.4) -> "tuple[Figure, Sequence[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, height), facecolor=PAPER, layout="constrained")
    made = [figure.add_subplot(1, axes, i + 1) for i in range(axes)]
    for one in made:
        one.set_facecolor(PAPER)
        one.tick_params(colors=INK, labelsize=9)
        one.grid(visible=True, color=_FAINT, alpha=0.22, linewidth=0.6)
        one.set_axisbelow(True)
        one.xaxis.label.set_color(INK)
        one.yaxis.label.set_color(INK)
        one.title.set_color(INK)
        for name, spine in one.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(_FAINT)
    return figure, made


def _svg(figure: "Figure") -> str:
    import matplotlib

    out = io.StringIO()
    # Fixed salt and no date: the same judgement gives the same bytes, and the same digest in the store.
    with matplotlib.rc_context({"svg.hashsalt": "lockgate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()
