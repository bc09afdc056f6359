"""`lockgate report`: what the gates said of a version, as text for a pull request, a page, or data."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App
from lockgate.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from lockgate.entities import Release

_FILES = {"markdown": "report.md", "html": "report.html", "json": "report.json"}


@click.command
@click.argument("model", metavar="[MODEL[@VERSION|@ALIAS]]", required=False)
@click.option(
    "--format",
    "format_",
    type=click.Choice(tuple(_FILES)),
    default="markdown",
    show_default=True,
    help="markdown and json are printed, html is written and its path printed.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the report with its drawings to this folder.",
)
@click.pass_obj
def report(app: App, model: str | None, format_: str, output: Path | None) -> None:
    """Show the gate report of a version; without one, of the newest version of the project's model.

    \b
    Example: lockgate report --format markdown --output report > comment.md
    """
    release = _find_release(app, model)
    if release.report is None:
        raise NotFound(f"version {release.version} of {release.model} has no gate report.", hint="lockgate run")
    if output is None and format_ != "html":
        click.echo(_stored_text(app, release.report, _FILES[format_]), nl=False)
        return
    folder = output or app.folder.state / "reports" / release.report
    _write(app, release.report, folder)
    if format_ == "html":
        click.echo(folder / _FILES[format_])
    else:
        click.echo((folder / _FILES[format_]).read_text(encoding="utf-8"), nl=False)


def _find_release(app: App, text: str | None) -> "Release":
    """The release that `text` names; the newest one where it names no version: a refused one has a report, too."""
    model, _, wanted = (text or "").partition("@")
    if wanted:
        from lockgate.cli.reference import resolve_version

        return app.client.registry.get_release(*resolve_version(app.folder, app.client, text))
    model = model or app.folder.project.model
    newest = app.client.registry.list_releases(model, limit=1)
    if not newest:
        raise NotFound(f"there is no version of {model} yet.", hint="lockgate run")
    return newest[0]


def _stored_text(app: App, digest: str, name: str) -> str:
    for entry in app.store.read_tree(digest):
        if entry.path == name:
            return app.store.get_bytes(entry.digest).decode()
    raise NotFound(f"the stored report {digest} has no {name}.", hint="lockgate verify")


def _write(app: App, digest: str, folder: Path) -> None:
    """Every file of the report, into a folder that may hold other things: the user's own are left alone."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder.")
    entries = app.store.read_tree(digest)
    for entry in entries:
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(app.store.get_bytes(entry.digest))
