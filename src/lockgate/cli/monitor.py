"""`lockgate monitor`: look at what an environment served, record it, and tell people what is wrong."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App
from lockgate.cli.output import format_time, print_json, print_table
from lockgate.errors import GateFailed, InvalidInput, NotFound

if TYPE_CHECKING:
    from lockgate.entities import MonitorWindow


@click.command
@click.option("--env", "environment", help="The environment; default: the one under monitor, or else the last one.")
@click.option("--start", help="Look from here: ISO 8601 (UTC unless it says otherwise) or milliseconds.")
@click.option("--end", help="Look up to here; default with --start: one window later, or now.")
@click.option("--window", help="Length of the window (30m, 1h, 1d) instead of monitor.window.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the page of the last look to this file.")
@click.option("--fail-on-alert", is_flag=True, help="Exit code 3 where a look raises an alert.")
@click.option("--notify-only", is_flag=True, help="Look at nothing; send the open alerts that were not sent yet.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def monitor(
    app: App,
    environment: str | None,
    start: str | None,
    end: str | None,
    window: str | None,
    html: Path | None,
    fail_on_alert: bool,
    notify_only: bool,
    as_json: bool,
) -> None:
    """Look at production: drift, performance, quality, health.

    Without --start, looks at every complete window since the last look. What is found is recorded once; an alert is
    sent once to every address of lockgate.yaml.

    \b
    Example:
      lockgate monitor --env production --html monitor.html
    """
    from lockgate.monitoring.alerts import notify

    if notify_only:
        told = notify(app.folder, client=app.client, clock=app.clock, environ=os.environ)
        click.echo(f"{len(told)} alerts sent." if not as_json else "", nl=not as_json)
        if as_json:
            print_json(told)
        return
    name = environment or _environment(app)
    windows = [_look(app, name, interval) for interval in _intervals(app, name, start=start, end=end, window=window)]
    notify(app.folder, client=app.client, clock=app.clock, environ=os.environ)
    # Where nothing is due, what was seen last is what there is to see.
    shown = windows or app.client.monitoring.list_windows(app.folder.project.model, name, limit=1)
    if html and shown:
        _write_page(app, shown[-1], html)
    if as_json:
        print_json(windows)
    else:
        if not windows:
            click.echo(f"every complete window has been looked at{'; this was the last one:' if shown else '.'}")
        _print(shown)
    raised = [kind for found in windows for kind in found.alerts]
    if fail_on_alert and raised:
        raise GateFailed(f"{name} raised alerts: {', '.join(dict.fromkeys(raised))}.", hint="lockgate monitor --html")


def _environment(app: App) -> str:
    project = app.folder.project
    name = (project.monitor.environment if project.monitor else None) or project.production
    if name is None:
        raise NotFound("lockgate.yaml has no environments, so nothing is served that could be watched.")
    return name


def _intervals(
    app: App, environment: str, *, start: str | None, end: str | None, window: str | None
) -> list[tuple[int, int]]:
    from lockgate.monitoring.window import next_windows, window_ms
    from lockgate.project import LEAST_WINDOW, duration_s

    if window and duration_s(window) < duration_s(LEAST_WINDOW):
        raise InvalidInput(f"--window is at least {LEAST_WINDOW}, not {window}.")
    now = app.clock.now_ms()
    length = round(duration_s(window) * 1000) if window else window_ms(app.folder.project)
    if start is not None:
        first = _time(start)
        return [(first, _time(end) if end is not None else min(first + length, now))]
    if end is not None:
        return [(_time(end) - length, _time(end))]
    if window is not None:
        last = now // length * length
        return [(last - length, last)]
    keep = app.settings.prediction_log_days
    return next_windows(app.folder, client=app.client, environment=environment, now=now, keep_days=keep)


def _time(text: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no time; write 2026-01-31T12:00 or milliseconds.") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _look(app: App, environment: str, interval: tuple[int, int]) -> "MonitorWindow":
    from lockgate.monitoring.alerts import settle
    from lockgate.monitoring.window import look

    start_at, end_at = interval
    window = look(
        app.folder,
        client=app.client,
        store=app.store,
        environment=environment,
        start_at=start_at,
        end_at=end_at,
        clock=app.clock,
    )
    settle(app.folder, client=app.client, window=window, clock=app.clock)
    return window


def _write_page(app: App, window: "MonitorWindow", path: Path) -> None:
    from lockgate.data.profile import decode_profile
    from lockgate.store.atomic import write_atomically
    from lockgate.ui.monitor_page import render_monitor

    try:
        release = app.client.registry.get_release(window.model, window.version)
    except NotFound:
        release = None
    reference = decode_profile(app.store.get_bytes(release.profile)) if release and release.profile else None
    current = decode_profile(app.store.get_bytes(window.profile)) if window.profile else None
    history = [
        past
        for past in app.client.monitoring.list_windows(window.model, window.environment, limit=24)
        if past.window_id != window.window_id
    ]
    page = render_monitor(window, reference=reference, current=current, history=tuple(history))
    write_atomically(app.start / path, page.encode())
    click.echo(f"wrote {path}", err=True)


def _print(windows: "list[MonitorWindow]") -> None:
    for window in windows:
        click.echo(
            f"{window.model} version {window.version} in {window.environment}, "
            f"{format_time(window.start_at)} to {format_time(window.end_at)} UTC"
        )
        click.echo(
            f"{window.rows} rows, error rate {window.error_rate:.2%}, latency p50 {_ms(window.latency_ms_p50)}, "
            f"p99 {_ms(window.latency_ms_p99)}; {window.labelled_rows} labelled"
        )
        for note in window.notes:
            click.echo(f"note: {note}")
        rows = [
            {
                "column": item.column,
                "verdict": "drift" if item.drift_detected else "-",
                "PSI": item.effect,
                "adjusted p": item.p_adjusted,
                "test": item.method,
            }
            for item in window.drift
        ]
        if rows:
            print_table(rows, list(rows[0]), empty="")
        if window.performance:
            print_table(
                [{"metric": name, "value": value} for name, value in window.performance.items()],
                ["metric", "value"],
                empty="",
            )
        for broken in window.quality:
            click.echo(f"quality: {broken}")
        click.echo(f"alerts: {', '.join(window.alerts) or 'none'}")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} ms"
