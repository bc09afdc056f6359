"""`lockgate status`: which stages would run, and why."""

import click

from lockgate.cli.app import App

_COLOURS = {"cached": "green", "restore": "cyan", "run": "yellow"}


@click.command
@click.argument("stages", nargs=-1, metavar="[STAGE]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(app: App, stages: tuple[str, ...], as_json: bool) -> None:
    """Say which stages would run, and why.

    `cached` has nothing to do, `restore` takes outputs from the store, `run` runs the command. Data files that changed
    since the last run are named too. Nothing is run and nothing is written.

    \b
    Example: lockgate status train
    """
    from lockgate.pipelines.status import pipeline_status
    from lockgate.store.actions import Actions

    found = pipeline_status(
        app.folder, store=app.store, actions=Actions(app.store.root / "actions"), clock=app.clock, targets=stages
    )
    if as_json:
        from lockgate.cli.output import print_json

        print_json({"stages": found.stages, "data": found.data})
        return
    # Plain lines and no table: the libraries for tables would cost more time than the whole command.
    width = max((len(stage.stage) for stage in found.stages), default=0)
    for stage in found.stages:
        state = click.style(f"{stage.state:<7}", fg=_COLOURS[stage.state])
        click.echo(f"{stage.stage:<{width}}  {state}  {stage.reason}")
    if not found.stages:
        click.echo("this project has no stages.")
    for item in found.data:
        if item.state != "unchanged":
            words = {"new": "has not been seen by a run", "changed": "changed since the last run"}
            click.echo(f"data {item.name} ({item.path}) {words.get(item.state, 'is missing')}.")
