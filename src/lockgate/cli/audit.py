"""`lockgate audit`: who did what, on what, when and from where."""

import re
from datetime import UTC, datetime

import click

from lockgate.cli.app import App

_DURATION = re.compile(r"(\d+)([mhd])")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@click.command
@click.option("--since", metavar="7d|12h|30m|DATE", help="Only from then on. A date is read as UTC.")
@click.option("--model", help="Only what was done to this model or experiment.")
@click.option("--user", help="Only what this user did.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many, newest first.")
@click.option("--before", type=int, metavar="SEQUENCE", help="Only lines older than the one with this number.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def audit(
    app: App, since: str | None, model: str | None, user: str | None, limit: int, before: int | None, as_json: bool
) -> None:
    """Print every write that was made or refused: who, what, on what, when, from where.

    What training logs is listed once an hour for each run, not value by value. There is no address
    where a command worked on the project's own state. After as many lines as --limit, stderr says
    which --before asks for older ones; it is the `sequence` of the last line in JSON.

    Example: lockgate audit --since 7d --model churn
    """
    from lockgate.cli.output import format_time, print_json

    start = 0 if since is None else parse_since(since, now=app.clock.now_ms())
    found = app.client.access.list_audit(since=start, before=before, model=model, user=user, limit=limit)
    if as_json:
        print_json(found)
        return
    if not found:
        is_asked_for_some = any(value is not None for value in (since, model, user, before))
        click.echo("there is nothing such." if is_asked_for_some else "nothing was decided yet.")
        return
    # Lines and no table: an entry is read across, and what does not fit a terminal is better cut than folded.
    names, outcomes = max(len(entry.by) for entry in found), max(len(entry.outcome) for entry in found)
    for entry in found:
        said = [entry.operation.removeprefix("mlflow:"), entry.subject]
        said += [f"{key}={value}" for key, value in entry.details.items()]
        said.append(f"from {entry.address}" if entry.address else "")
        what = " ".join(word for word in said if word)
        click.echo(f"{format_time(entry.at)}  {entry.by:<{names}}  {entry.outcome:<{outcomes}}  {what}")
    if len(found) == limit:
        click.echo(f"for older ones add --before {found[-1].sequence}", err=True)


def parse_since(text: str, *, now: int) -> int:
    """Milliseconds since the epoch of `7d` ago, or of a date. Raises InvalidInput."""
    from lockgate.errors import InvalidInput

    match = _DURATION.fullmatch(text)
    if match:
        return now - int(match[1]) * _UNIT_MS[match[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no time: write 7d, 12h, 30m or a date like 2026-01-31.") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
