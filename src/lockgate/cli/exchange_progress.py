"""How far a copy is: a line that moves on a terminal, a line a phase and every thousand runs in a log."""

from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import TaskID

_ITEMS_A_LINE = 1000


class Lines:
    """For a log, on stderr."""

    def __init__(self) -> None:
        self._text = ""
        self._items = self._points = 0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def phase(self, text: str) -> None:
        self._text, self._items, self._points = text, 0, 0
        click.echo(text, err=True)

    def advance(self, *, items: int = 1, points: int = 0) -> None:
        self._items += items
        self._points += points
        if items and self._items % _ITEMS_A_LINE == 0:
            click.echo(f"{self._text}: {self._items} done, {self._points} points", err=True)


class Bar:
    """For a terminal. How many runs there are is not known before they are all read, so it shows what is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(pulse_style="cyan"),
            TextColumn("{task.completed:,} done"),
            TextColumn("{task.fields[points]:,} points"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID | None = None
        self._points = 0

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def phase(self, text: str) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._points = 0
        self._task = self._progress.add_task(text, total=None, points=0)

    def advance(self, *, items: int = 1, points: int = 0) -> None:
        assert self._task is not None, "a phase comes first"
        self._points += points
        self._progress.update(self._task, advance=items, points=self._points)
