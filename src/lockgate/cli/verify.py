"""`lockgate verify`: read all stored content again and name what is damaged."""

import click

from lockgate.cli.app import App


@click.command
@click.option("--remove", is_flag=True, help="Delete what is damaged, so that the next run builds it again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(app: App, remove: bool, as_json: bool) -> None:
    """Read all stored content again and name what is damaged.

    Exit code 6 where something is. With --remove the damaged objects are deleted: outputs of stages are built again by
    the next `lockgate run`; for the content of a release, restore a backup or train it again.

    \b
    Example: lockgate verify
    """
    from lockgate.cli.output import print_json, print_table
    from lockgate.errors import DataDamaged
    from lockgate.store.verify import remove_damage
    from lockgate.store.verify import verify as find_damage

    found = list(find_damage(app.store))
    if remove:
        for damage in found:
            remove_damage(damage)
    if as_json:
        print_json({"damaged": found, "removed": remove})
    elif found:
        rows = [{"kind": item.kind, "digest": item.digest, "problem": item.problem} for item in found]
        print_table(rows, ["kind", "digest", "problem"], empty="")
    else:
        click.echo("everything in the store is what its name says.")
    if found and not remove:
        raise DataDamaged(
            f"{len(found)} stored objects are damaged.", hint="lockgate verify --remove, then lockgate run"
        )
    if found:
        click.echo(f"{len(found)} damaged objects were deleted; lockgate run builds what stages wrote.", err=as_json)
