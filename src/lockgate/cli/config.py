"""`lockgate config`: every setting with where its value comes from."""

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lockgate.cli.app import App


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def config(app: "App", as_json: bool) -> None:
    """Print every setting, its value and where the value comes from.

    A flag is stronger than the variable LOCKGATE_NAME, which is stronger than the user's lockgate.toml, which is
    stronger than the machine's; what nobody sets has its default.

    Example: LOCKGATE_JOBS=4 lockgate config
    """
    from lockgate.cli.output import print_json, print_table
    from lockgate.config import HELP, config_files, home_folder, resolve

    files = config_files(environ=os.environ, home=home_folder())
    found = resolve(flags=app.flags, environ=os.environ, files=files)
    if as_json:
        print_json({item.name: {"value": item.shown, "origin": item.origin, "help": HELP[item.name]} for item in found})
        return
    rows = [{"setting": item.name, "value": str(item.shown) or "-", "from": item.origin} for item in found]
    print_table(rows, ("setting", "value", "from"), empty="there are no settings")
    for path in files:
        click.echo(f"{path}: {'read' if path.is_file() else 'not there'}")
