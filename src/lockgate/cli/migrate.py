"""`lockgate migrate`: the project's database, brought to this version of Lockgate."""

import click

from lockgate.cli.app import App


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def migrate(app: App, as_json: bool) -> None:
    """Bring the project's database to this version of Lockgate.

    Stop everything that uses the project first: it refuses while others have the database open. A copy of SQLite's file
    is kept beside it. Of PostgreSQL take a backup yourself beforehand (pg_dump); should the upgrade fail, the database
    stays as it was.

    \b
    Example: lockgate migrate
    """
    from lockgate.cli.output import print_json
    from lockgate.errors import InvalidInput
    from lockgate.metadata.migrate import migrate as run
    from lockgate.server.context import database_place

    if app.flags["uri"]:
        raise InvalidInput(
            "lockgate migrate takes no --uri: a database is brought to another version where its server runs.",
            hint="lockgate migrate, on that machine and with the server's settings",
        )
    done = run(database_place(app.folder.state, app.settings.database), at_ms=app.clock.now_ms())
    if as_json:
        print_json({"from": done.from_revision, "to": done.to_revision, "backup": done.backup and str(done.backup)})
    elif done.from_revision == done.to_revision:
        click.echo(f"already at revision {done.to_revision}: nothing to do.")
    else:
        click.echo(f"upgraded from revision {done.from_revision or 'none'} to {done.to_revision}.")
        if done.backup is not None:
            click.echo(f"the database as it was: {done.backup}")
