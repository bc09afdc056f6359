"""`lockgate import mlflow URI` and `lockgate export mlflow URI`: come from MLflow, or leave."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.cli.exchange_progress import Bar, Lines
    from lockgate.exchange.copy import Report
    from lockgate.exchange.endpoint import Endpoint

_JOBS = 8
_OWN_TOKEN = "LOCKGATE_TOKEN=env:NAME says which variable has the token for the Lockgate server"


@click.group("import")
def import_() -> None:
    """Copy everything from another system's server or store to here."""


@click.group("export")
def export() -> None:
    """Copy everything from here to another system's server."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    options: tuple[Callable[..., Any], ...] = (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--jobs", type=click.IntRange(1, 64), default=_JOBS, show_default=True, help="Runs at a time."),
        click.option("--deleted", is_flag=True, help="Also what is deleted there and can be restored."),
        click.option("--prefix", default="", help="Put this before the names of experiments and registered models."),
    )
    for option in options:
        command = option(command)
    return command


@import_.command("mlflow")
@click.argument("uri")
@_options
@click.option(
    "--artifacts", metavar="URL", default="", help="Where a server kept the files of a store that is not one."
)
@click.pass_obj
def import_mlflow(app: App, uri: str, prefix: str, deleted: bool, jobs: int, as_json: bool, artifacts: str) -> int:
    """Copy experiments, runs with all they logged, files, logged and registered models from an MLflow server.

    URI is the server's address (http, https), or a store without a server: sqlite:///mlflow.db, file:///path/mlruns.
    Credentials are taken from MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.

    Runs and logged models keep their ids. When it is interrupted, the same command goes on; given again later, it
    copies what is new. At the end everything is counted on both sides; exit code 0 says that all counts are equal.

    \b
    Example: lockgate import mlflow http://mlflow.example:5000
    """
    from lockgate.exchange.copy import copy
    from lockgate.exchange.destination import Lockgate
    from lockgate.exchange.endpoint import Endpoint

    _require_own_token(app)
    source = _open_source(app, uri, artifacts)
    with app.own_client as client, _progress(as_json) as progress:
        _log_in(client.access.list_users)  # an admin's, as every write of the copy is
        target = Endpoint(client.transport, "Lockgate")
        report = copy(
            source,
            target,
            Lockgate(client.transport),
            progress=progress,
            prefix=prefix,
            with_deleted=deleted,
            jobs=jobs,
        )
    source.transport.close()
    return _print(report, as_json)


@export.command("mlflow")
@click.argument("uri")
@_options
@click.pass_obj
def export_mlflow(app: App, uri: str, prefix: str, deleted: bool, jobs: int, as_json: bool) -> int:
    """Copy experiments, runs with all they logged, files, logged and registered models to an MLflow server.

    URI is the address of any server of MLflow's protocol (http, https); credentials as for `lockgate import mlflow`.
    That server gives new ids, so each copy has a tag lockgate.copied.from with the old one; references between runs,
    models and versions are rewritten. When it is interrupted, the same command goes on.

    \b
    Example: lockgate export mlflow http://mlflow.example:5000
    """
    from lockgate.exchange.copy import copy
    from lockgate.exchange.destination import AnyServer
    from lockgate.exchange.endpoint import Endpoint

    _require_own_token(app)
    target = _open_server(app, uri)
    with app.own_client as client, _progress(as_json) as progress:
        _log_in(client.access.who_am_i)
        source = Endpoint(client.transport, "Lockgate")
        report = copy(
            source,
            target,
            AnyServer(target.transport),
            progress=progress,
            prefix=prefix,
            with_deleted=deleted,
            jobs=jobs,
        )
    target.transport.close()
    return _print(report, as_json)


def _open_source(app: App, uri: str, artifacts: str) -> "Endpoint":
    from urllib.parse import urlsplit

    from lockgate.errors import InvalidInput
    from lockgate.exchange.address import without_login
    from lockgate.exchange.endpoint import Endpoint
    from lockgate.exchange.mlflow_store import SCHEMES, MlflowStore

    shown, scheme = without_login(uri), urlsplit(uri).scheme.partition("+")[0]
    if scheme in ("http", "https"):
        if artifacts:
            raise InvalidInput("--artifacts goes with a store without a server; a server sends its files itself.")
        return _open_server(app, uri)
    if scheme not in SCHEMES:
        raise InvalidInput(
            f"{shown!r} is neither a server (http, https) nor a store ({', '.join(filter(None, SCHEMES))})."
        )
    return Endpoint(MlflowStore(uri, artifacts_at=artifacts), shown)


def _open_server(app: App, uri: str, environ: Mapping[str, str] = os.environ) -> "Endpoint":
    from lockgate.client.http import HttpTransport
    from lockgate.exchange.address import split_login
    from lockgate.exchange.endpoint import Endpoint

    address, user, password = split_login(uri)
    transport = HttpTransport(
        address,
        user=user or environ.get("MLFLOW_TRACKING_USERNAME") or app.user,
        password=password or environ.get("MLFLOW_TRACKING_PASSWORD", ""),
        token="" if password else environ.get("MLFLOW_TRACKING_TOKEN", ""),
        kind="MLflow",
    )
    return Endpoint(transport, address)


def _require_own_token(app: App) -> None:
    """One token must not be sent to two servers."""
    from lockgate.config import Settings
    from lockgate.errors import InvalidInput

    if app.settings.uri and app.settings.token == Settings().token and "MLFLOW_TRACKING_TOKEN" in os.environ:
        raise InvalidInput(
            "MLFLOW_TRACKING_TOKEN is for the MLflow server here, and would be sent to the Lockgate server as well.",
            hint=_OWN_TOKEN,
        )


def _log_in(ask: Callable[[], object]) -> None:
    """Ask the Lockgate server for something, before anything else: what is missing there is said once and by its name.

    Raises Unauthenticated, PermissionDenied.
    """
    from lockgate.errors import Unauthenticated

    try:
        ask()
    except Unauthenticated as error:
        raise Unauthenticated(error.message, hint=_OWN_TOKEN) from error


def _progress(as_json: bool) -> "Bar | Lines":
    from lockgate.cli.exchange_progress import Bar, Lines

    return Bar() if not as_json and sys.stderr.isatty() else Lines()


def _print(report: "Report", as_json: bool) -> int:
    from lockgate.cli.output import print_json, print_table

    if as_json:
        counts = {count.what: {"source": count.source, "target": count.target} for count in report.counts}
        print_json({"equal": report.is_equal, "counts": counts, "refused": report.refused})
    else:
        rows = [{**count._asdict(), "": "" if count.source == count.target else "differs"} for count in report.counts]
        print_table(rows, ("what", "source", "target", ""), empty="")
    for line in report.refused:
        click.echo(f"refused: {line}", err=True)
    if report.is_equal:
        return 0
    click.echo(
        "The two sides differ. The same command tries again, and copies again what has lost values or files; what was "
        "refused is refused until it is changed, and other changes of finished runs at the target stay.",
        err=True,
    )
    return 1
