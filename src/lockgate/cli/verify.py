"""`lockgate verify`: read all stored content again; name what is damaged, and the releases whose content is lost."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.entities import Content
    from lockgate.store.store import Store


@click.command
@click.option("--remove", is_flag=True, help="Delete what is damaged, so that the next run builds it again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(app: App, remove: bool, as_json: bool) -> None:
    """Read all stored content again; name what is damaged, and the releases whose content is lost.

    Exit code 6 where something is, and another than 0 where the records cannot be asked. Looked for is the content of
    the releases that this project has made. With --remove the damaged objects are deleted: outputs of stages are built
    again by the next `lockgate run`; for the content of a release, restore a backup or train it again.

    \b
    Example: lockgate verify
    """
    from lockgate.cli.output import print_json, print_table
    from lockgate.errors import DataDamaged, LockgateError
    from lockgate.store.verify import remove_damage
    from lockgate.store.verify import verify as find_damage

    found = list(find_damage(app.store))
    if remove:
        for damage in found:
            remove_damage(damage)
    lost: dict[str, str] = {}
    unasked: LockgateError | None = None
    try:
        lost.update(_iter_lost(app))
    except LockgateError as error:  # of the records; what was read of the store is true all the same
        unasked = error
        click.echo("the content of releases was not looked for: the records cannot be asked.", err=True)
    if as_json:
        print_json({"damaged": found, "removed": remove, "lost": lost, "not_looked_at": unasked and unasked.message})
    elif found or lost:
        rows = [{"kind": item.kind, "digest": item.digest, "problem": item.problem} for item in found]
        for name, digest in lost.items():
            rows.append({"kind": "release", "digest": digest, "problem": f"the content of {name} is lost"})
        print_table(rows, ["kind", "digest", "problem"], empty="")
    else:
        click.echo("everything in the store is what its name says.")
    if found and not remove:
        raise DataDamaged(
            f"{len(found)} stored objects are damaged.", hint="lockgate verify --remove, then lockgate run"
        )
    if found:
        click.echo(f"{len(found)} damaged objects were deleted; lockgate run builds what stages wrote.", err=as_json)
    if lost:
        raise DataDamaged(
            f"{len(lost)} releases name content that is lost.",
            hint="restore .lockgate/store from a backup, or train them again",
        )
    if unasked is not None:
        raise unasked


def _iter_lost(app: App) -> Iterator[tuple[str, str]]:
    """(name, digest) of releases that this project has made: a server also knows those whose content others have."""
    from lockgate.automation.judging import candidate_key
    from lockgate.store.actions import Actions

    actions, model = Actions(app.store.root / "actions"), app.folder.project.model
    for release in app.client.registry.iter_releases(model):
        digest = release.content.digest
        if actions.get(candidate_key(model, digest)) is not None and not _is_whole(app.store, release.content):
            yield f"{model}@{release.version}", digest


def _is_whole(store: "Store", content: "Content") -> bool:
    from lockgate.errors import DataDamaged

    try:
        return store.has(content)
    except DataDamaged:
        return False
