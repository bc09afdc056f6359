"""A judgement as the text of a pull request's comment: verdict, reasons, numbers beside the champion's, drawings."""

from collections.abc import Iterator, Sequence

from lockgate.entities import Check
from lockgate.gates.judge import Judgement, MetricRow
from lockgate.gates.plots import Plot
from lockgate.gates.words import count, number, signed

MARKS = {"passed": "✅ passed", "failed": "❌ failed", "skipped": "➖ skipped"}


def render_markdown(judgement: Judgement, plots: Sequence[Plot]) -> str:
    """GitHub-flavoured Markdown; drawings are linked as `plots/NAME.svg` beside it."""
    return "\n".join(_lines(judgement, plots)) + "\n"


def verdict_line(judgement: Judgement) -> str:
    """`churn: passed 6 gates` or `churn: refused by 2 of 6 gates`, with what it was compared with."""
    checks = judgement.verdict.checks
    refusals = len(judgement.verdict.refusals)
    skipped = sum(check.status == "skipped" for check in checks)
    model = judgement.project.model
    if not checks:
        return f"{model}: no gate is set, so nothing was asked"
    if refusals:
        return f"{model}: refused by {refusals} of {count(len(checks), 'check')}"
    return f"{model}: passed {count(len(checks) - skipped, 'check')}" + (f", {skipped} skipped" if skipped else "")


def compared_with(judgement: Judgement) -> str:
    """On how many rows, and beside which champion."""
    verdict = judgement.verdict
    evaluate = judgement.project.evaluate
    where = f"{count(verdict.rows, 'row')} of {evaluate.data}" if evaluate else "no evaluation data"
    version = verdict.champion_version
    beside = f"champion version {version}" if version is not None else "no champion to compare with"
    return f"{where}; {beside}"


def _lines(judgement: Judgement, plots: Sequence[Plot]) -> Iterator[str]:
    yield f"## {'✅' if judgement.verdict.passed else '❌'} {_cell(verdict_line(judgement))}"
    yield ""
    yield f"{_cell(compared_with(judgement))}."
    if judgement.verdict.checks:
        yield ""
        yield "| gate | verdict | reason |"
        yield "|---|---|---|"
        for check in _failed_first(judgement.verdict.checks):
            yield f"| {_cell(check.gate)} | {MARKS[check.status]} | {_cell(check.reason)} |"
    if judgement.table:
        yield ""
        yield from _metrics(judgement.table)
    for note in judgement.notes:
        yield ""
        yield f"> {_cell(note)}"
    for plot in plots:
        yield ""
        yield f"![{plot.title}: {plot.caption}](plots/{plot.name}.svg)"


def _metrics(table: Sequence[MetricRow]) -> Iterator[str]:
    has_champion = any(row.champion_value is not None for row in table)
    if has_champion:
        yield "| metric | candidate | champion | gain | 95 % bounds of the gain |"
        yield "|---|---:|---:|---:|---|"
    else:
        yield "| metric | candidate | 95 % bounds |"
        yield "|---|---:|---|"
    for row in table:
        bounds = _bounds(row)
        beside = [number(row.champion_value), signed(row.gain)] if has_champion else []
        cells = [number(row.value), *beside, _cell(bounds)]
        yield f"| {row.metric} | {' | '.join(cells)} |"
    if has_champion:
        yield ""
        yield "A gain above 0 is better, whichever way the metric counts. Each bound holds with 95 % confidence."


def _bounds(row: MetricRow) -> str:
    if row.low is None or row.high is None:
        return row.note or "–"
    form = number if row.gain is None else signed
    return f"{form(row.low)} to {form(row.high)}"


def _failed_first(checks: Sequence[Check]) -> list[Check]:
    order = {"failed": 0, "passed": 1, "skipped": 2}
    return sorted(checks, key=lambda check: order[check.status])


def _cell(text: str) -> str:
    """Text that cannot break out of its table cell or start markup of its own (names come from users' data)."""
    flat = " ".join(text.split())
    for sign in "\\|<>[]`*":
        flat = flat.replace(sign, "\\" + sign if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return flat
