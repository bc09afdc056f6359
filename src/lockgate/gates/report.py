"""A judgement on paper: `report.md` for a pull request, `report.html` in one file for people, `report.json` for tools.

The folder is stored with the release. The same judgement gives the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from lockgate.gates.judge import Judgement
from lockgate.gates.markdown import compared_with, render_markdown, verdict_line
from lockgate.gates.plots import CANDIDATE, CHAMPION, Plot, draw_plots, for_page
from lockgate.gates.words import number, signed

MARKDOWN, HTML, JSON = "report.md", "report.html", "report.json"


def write_report(judgement: Judgement, folder: Path) -> None:
    """Write the three files and `plots/*.svg` into an existing folder."""
    plots = draw_plots(judgement)
    if plots:
        (folder / "plots").mkdir(exist_ok=True)
    for plot in plots:
        (folder / "plots" / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
    (folder / MARKDOWN).write_text(render_markdown(judgement, plots), encoding="utf-8")
    (folder / HTML).write_text(render_html(judgement, plots), encoding="utf-8")
    (folder / JSON).write_bytes(_as_json(judgement))


def render_html(judgement: Judgement, plots: Sequence[Plot]) -> str:
    """One self-contained page: no script, no font, no file beside it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("lockgate.gates", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed}
    # The one place where markup passes: drawings by matplotlib, which escapes the text in them.
    drawings = [(plot, Markup(for_page(plot.svg))) for plot in plots]
    order = {"failed": 0, "passed": 1, "skipped": 2}
    return environment.get_template("report.html.jinja").render(
        model=judgement.project.model,
        task=judgement.project.task.replace("_", " "),
        verdict=judgement.verdict,
        checks=sorted(judgement.verdict.checks, key=lambda check: order[check.status]),
        headline=verdict_line(judgement),
        compared_with=compared_with(judgement),
        table=judgement.table,
        has_champion=any(row.champion_value is not None for row in judgement.table),
        slices=judgement.slices,
        notes=judgement.notes,
        drawings=drawings,
        colours={"candidate": CANDIDATE, "champion": CHAMPION},
    )


def _as_json(judgement: Judgement) -> bytes:
    value = {
        "model": judgement.project.model,
        "task": judgement.project.task,
        "verdict": judgement.verdict,
        "metrics": judgement.table,
        "slices": judgement.slices,
        "notes": judgement.notes,
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
