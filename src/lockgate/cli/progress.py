"""How `lockgate run` looks on a terminal: what runs stays at the bottom with its time, all else scrolls above it."""

from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from lockgate.pipelines.outcome import StageOutcome, describe

if TYPE_CHECKING:
    from rich.progress import Progress

_MARKS = {"ran": ("✓", "green"), "restored": ("↺", "cyan"), "failed": ("✗", "red"), "skipped": ("-", "yellow")}


class TerminalReporter:
    """A `Reporter`. Rich is loaded when the first stage really runs, so that a run with nothing to do stays instant."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, Any] = {}  # rich's task ids
        self._cached = 0

    def __enter__(self) -> "TerminalReporter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def stage_started(self, stage: str, reason: str) -> None:
        progress = self._live()
        self._tasks[stage] = progress.add_task(stage, reason=reason, total=None)

    def stage_output(self, stage: str, line: str) -> None:
        self._say(line, prefix=f"{stage} | ")

    def stage_finished(self, outcome: StageOutcome) -> None:
        if self._progress is not None and outcome.name in self._tasks:
            self._progress.remove_task(self._tasks.pop(outcome.name))
        if outcome.status == "cached":
            return  # the summary counts them; a line for each would hide what happened
        mark, colour = _MARKS[outcome.status]
        self._say(f"{mark} {outcome.name} {describe(outcome)}", style=colour)

    def message(self, text: str) -> None:
        self._say(text)

    def _live(self) -> "Progress":
        if self._progress is None:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", style="bold", markup=False),
                TimeElapsedColumn(),
                TextColumn("{task.fields[reason]}", style="dim", markup=False),
            )
            self._progress = Progress(*columns, console=Console(), transient=True)
            self._progress.start()
        return self._progress

    def _say(self, line: str, *, prefix: str = "", style: str | None = None) -> None:
        if self._progress is None:
            click.echo(prefix + click.style(line, fg=style))
            return
        from rich.text import Text

        # `Text` and not a string: what a stage prints is no markup of ours.
        self._progress.console.print(Text.assemble((prefix, "dim"), (line, style or "")), soft_wrap=True)
