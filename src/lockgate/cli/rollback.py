"""`lockgate rollback`: the last good release, at once."""

import click

from lockgate.cli.app import App


@click.command
@click.argument("environment", metavar="ENV")
@click.option("--reason", default="asked for", help="Recorded with the rollback.")
@click.option("--json", "as_json", is_flag=True, help="Print the rollout as JSON.")
@click.pass_obj
def rollback(app: App, environment: str, reason: str, as_json: bool) -> None:
    """Return an environment to its last good release.

    A rollout that is under way is turned around; a finished one is followed by a rollback to the version before it.
    Requests in flight are finished, and none fails.

    \b
    Example: lockgate rollback production --reason "complaints about scores"
    """
    from lockgate.automation.guard import is_driven
    from lockgate.cli.output import print_json
    from lockgate.delivery.advance import drive, watch
    from lockgate.delivery.deploy import find_environment
    from lockgate.delivery.rollback import rollback as roll_back
    from lockgate.delivery.targets.local import LocalTarget

    find_environment(app.folder, environment)
    started = app.clock.monotonic()
    target = LocalTarget(app.folder.state, environment)
    production = app.folder.project.production
    rollout = roll_back(
        app.client,
        target,
        model=app.folder.project.model,
        environment=environment,
        by=app.user,
        reason=reason,
        clock=app.clock,
        production=production,
    )
    took_ms = (app.clock.monotonic() - started) * 1000
    version = rollout.version if rollout.strategy == "rollback" else rollout.baseline_version
    if version is None:
        click.echo(f"{environment} had no version before; its rollout has ended.", err=as_json)
    else:
        click.echo(f"traffic of {environment} went back to version {version} in {took_ms:.0f} ms.", err=as_json)
    # Traffic has moved; what is left is to hear from the replicas.
    if is_driven(app.folder.state):
        rollout = watch(app.client, target, rollout, clock=app.clock)
    else:
        rollout = drive(app.client, target, rollout, clock=app.clock, by=app.user, production=production)
    if as_json:
        print_json(rollout)
    else:
        click.echo(f"{environment}: {rollout.state}: {rollout.reason}")
