"""`lockgate runs`: recorded runs, newest first, and one of them whole."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.client.tracking import Tracking
    from lockgate.errors import LockgateError
    from lockgate.wire.mlflow.runs import Run

_SHOWN_METRICS = 4


@click.group(invoke_without_command=True)
@click.option("--filter", "filter_", default="", metavar="FILTER", help="Only runs for which this holds.")
@click.option("--order", "order", multiple=True, metavar="TERM", help="Sort by this, as `metrics.auc DESC`.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@click.option("--all", "everything", is_flag=True, help="Of every experiment, not of this project's model alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def runs(ctx: click.Context, filter_: str, order: tuple[str, ...], limit: int, everything: bool, as_json: bool) -> None:
    """List recorded runs, newest first; `runs show ID` prints one whole.

    Outside of a project, where `--uri` names a server, they are of every experiment.

    FILTER is MLflow's: comparisons of metrics, params, tags and attributes, joined by AND, OR, NOT and parentheses.

    \b
    Example: lockgate runs --filter "metrics.roc_auc > 0.8 AND params.depth = '3'"
    """
    if ctx.invoked_subcommand is not None:
        return
    from lockgate.cli.output import print_json, print_table

    app: App = ctx.obj
    everything = everything or app.folder_if_any is None
    experiments = _experiments(app, everything)
    found: tuple[Run, ...] = ()
    if experiments:
        page = app.client.tracking.search_runs(list(experiments), filter=filter_, order_by=order, max_results=limit)
        found = page.runs
    rows = [_row(run, experiments) for run in found]
    if as_json:
        print_json(rows)
        return
    table = [{**row, "id": str(row["run_id"])[:12], "metrics": _brief(row["metrics"])} for row in rows]
    columns = ["id", "name", "status", "started", "duration_s", "metrics"]
    none = "no run satisfies the filter" if filter_ else "no runs yet: lockgate run makes one"
    elsewhere = "" if everything else "; --all lists those of every experiment"
    print_table(table, columns + ["experiment"] * everything, empty=f"{none}{elsewhere}.")


@runs.command
@click.argument("run_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(app: App, run_id: str, as_json: bool) -> None:
    """Print one run: what it read, its params, metrics, tags, files and models.

    ID may be shortened to its first characters, as long as they name one run.

    \b
    Example: lockgate runs show 3f9a
    """
    from lockgate.cli.output import print_json, print_table

    client = app.client
    run = _find(client, run_id)
    details = _details(client, run)
    if as_json:
        print_json(details)
        return
    for name in ("run_id", "name", "experiment", "status", "started", "duration_s", "user"):
        click.echo(f"{name:<12}{'-' if details[name] is None else details[name]}")
    for name in ("params", "metrics", "tags"):
        click.echo(f"\n{name}")
        table = [{"name": key, "value": value} for key, value in details[name].items()]
        print_table(table, ["name", "value"], empty="  none")
    for name in ("datasets", "models", "artifacts"):
        click.echo(f"\n{name}")
        click.echo("\n".join(f"  {item}" for item in details[name]) or "  none")


@runs.command
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def flush(app: App, as_json: bool) -> None:
    """Send what scripts logged and could not send, because they were killed or their server was away.

    What a running script has still to send is its own business. The next script of the project does the same by itself.
    Outside of a project LOCKGATE_URI names the server. A token is sent to no other: what was meant for another server
    that wants a login is kept.
    Exit code 5: something is kept, because its server does not answer or does not take it.

    \b
    Example: lockgate runs flush
    """
    from lockgate.cli.output import print_json, print_table
    from lockgate.client.outbox.leftovers import Leftovers, deliver_leftovers
    from lockgate.connect import split_uri
    from lockgate.errors import Unavailable

    found = Leftovers([], [], [])
    uri, *_ = split_uri(app.settings.uri)
    with ExitStack() as opened:
        servers = _Servers(app, uri, opened)
        state = None if app.folder_if_any is None else app.folder_if_any.state
        for folder in _outboxes(app, state):
            some = deliver_leftovers(folder, app.client.tracking, home=uri or state or "", open_server=servers.tracking)
            found.sent.extend(some.sent)
            found.kept.extend(some.kept)
            found.refused.extend(some.refused)
    kept = [{"run_id": item.run_id, "file": str(item.path), "reason": _reason(item.error)} for item in found.kept]
    refused = [{"what": item.what, "reason": item.error.message} for item in found.refused]
    if as_json:
        print_json({"sent": [str(path) for path in found.sent], "kept": kept, "refused": refused})
    else:
        click.echo(f"{len(found.sent)} sent, {len(kept)} kept, {len(refused)} refused.")
        if kept:
            print_table(kept, ["run_id", "reason", "file"], empty="")
        if refused:
            print_table(refused, ["what", "reason"], empty="")
    if kept:
        raise Unavailable(f"{len(kept)} files are kept.", hint="repeat later, or delete those that you do not need")


def _reason(error: "LockgateError") -> str:
    return f"{error.message} Next: {error.hint}" if error.hint else error.message


def _outboxes(app: App, state: Path | None) -> set[Path]:
    """The project's, and that of the user's scripts outside of projects."""
    from lockgate.client.outbox.outbox import outbox_folder
    from lockgate.config import home_folder

    found = {outbox_folder(app.settings, of, environ=os.environ, home=home_folder()) for of in (state, None)}
    return {folder for folder in found if folder is not None}


class _Servers:
    """Clients of servers by address, closed with `opened`: of the one at `uri`, and of others, which get no token."""

    def __init__(self, app: App, uri: str, opened: ExitStack) -> None:
        self._app = app
        self._uri = uri
        self._opened = opened
        self._known: dict[str, Client] = {}

    def tracking(self, uri: str) -> "Tracking":
        import msgspec

        from lockgate.connect import connect

        app = self._app
        if uri.rstrip("/") == self._uri.rstrip("/"):
            return app.client.tracking
        if uri not in self._known:
            settings = msgspec.structs.replace(app.settings, uri=uri, token="")
            client = connect(settings, state=Path(), user=app.user, clock=app.clock)
            self._known[uri] = self._opened.enter_context(client)
        return self._known[uri].tracking


def _experiments(app: App, everything: bool) -> dict[str, str]:
    """Names by id."""
    return {
        item.experiment_id: item.name
        for item in app.client.tracking.list_experiments()
        if everything or item.name == app.folder.project.model
    }


def _row(run: "Run", experiments: dict[str, str]) -> dict[str, Any]:
    from lockgate.cli.output import format_time

    info = run.info
    return {
        "run_id": info.run_id,
        "name": info.run_name,
        "experiment": experiments.get(info.experiment_id, info.experiment_id),
        "status": info.status,
        "started": format_time(info.start_time),
        "duration_s": None if info.end_time is None else (info.end_time - info.start_time) / 1000,
        "user": info.user_id,
        "metrics": {item.key: item.value for item in run.data.metrics},
    }


def _details(client: "Client", run: "Run") -> dict[str, Any]:
    names = {item.experiment_id: item.name for item in client.tracking.list_experiments()}
    return {
        **_row(run, names),
        "params": {item.key: item.value for item in run.data.params},
        "tags": {item.key: item.value for item in run.data.tags},
        "datasets": [f"{use.dataset.name} {use.dataset.digest}" for use in run.inputs.dataset_inputs],
        "models": [
            f"{model.info.name} {model.info.model_id} {model.info.status.removeprefix('LOGGED_MODEL_').lower()}"
            for model in client.tracking.list_logged_models(run.info.run_id)
        ],
        "artifacts": [item.path + "/" * item.is_dir for item in client.tracking.list_artifacts(run.info.run_id)],
    }


def _brief(metrics: dict[str, Any]) -> str:
    from lockgate.cli.output import format_cell

    shown = [f"{key}={format_cell(value)}" for key, value in list(metrics.items())[:_SHOWN_METRICS]]
    return " ".join(shown) + (" ..." if len(metrics) > _SHOWN_METRICS else "")


def _find(client: "Client", text: str) -> "Run":
    """The run with this id, or the only one whose id starts so. Raises NotFound, InvalidInput for an ambiguous one."""
    from lockgate.errors import InvalidInput, NotFound
    from lockgate.ids import RUN_ID_LENGTH

    if len(text) >= RUN_ID_LENGTH:
        return client.tracking.get_run(text)
    if not text.isalnum():
        raise InvalidInput(f"{text!r} is not the beginning of a run id.")
    experiments = [item.experiment_id for item in client.tracking.list_experiments()]
    page = client.tracking.search_runs(experiments, filter=f"run_id LIKE '{text.lower()}%'", max_results=2)
    if not page.runs:
        raise NotFound(f"no run has an id that starts with {text!r}.", hint="lockgate runs")
    if len(page.runs) > 1:
        raise InvalidInput(f"several runs have an id that starts with {text!r}; write more of it.")
    return page.runs[0]
