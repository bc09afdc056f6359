"""`lockgate migrate`: the project's database, brought to this version of Lockgate."""

import click

from lockgate.cli.app import App


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def migrate(app: App, as_json: bool) -> None:
    """Bring the project's database to this version of Lockgate.

    A copy of the file is kept beside it. Stop everything that uses the project first.

    \b
    Example: lockgate migrate
    """
    from lockgate.cli.output import print_json
    from lockgate.metadata.migrate import migrate as run
    from lockgate.server.context import DATABASE_NAME

    done = run(app.folder.state / DATABASE_NAME, at_ms=app.clock.now_ms())
    if as_json:
        print_json({"from": done.from_revision, "to": done.to_revision, "backup": done.backup and str(done.backup)})
    elif done.backup is None:
        click.echo(f"already at revision {done.to_revision}: nothing to do.")
    else:
        click.echo(f"upgraded from revision {done.from_revision or 'none'} to {done.to_revision}.")
        click.echo(f"the database as it was: {done.backup}")
