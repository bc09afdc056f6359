"""How commands print: tables for people, JSON for programs, one line a fact for logs."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from lockgate.clock import format_utc


def print_json(value: Any) -> None:
    """Any JSON-like value or struct, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, empty: str) -> None:
    """One line a row under the named columns; `empty` is said where there is none."""
    if not rows:
        click.echo(empty)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # as text: what people wrote may look like rich's markup
        table.add_row(*(Text(format_cell(row.get(column))) for column in columns))
    console = Console(soft_wrap=False)
    with console.capture() as captured:  # rich would end the process where nobody reads any more
        console.print(table)
    click.echo(captured.get(), nl=False)


def format_cell(value: object) -> str:
    """One value in a table's cell, short."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def format_time(at_ms: int | None) -> str:
    """UTC, to the second."""
    return "-" if at_ms is None else format_utc(at_ms)
