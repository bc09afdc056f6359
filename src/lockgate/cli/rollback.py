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
    from lockgate.cli.output import print_json
    from lockgate.delivery.deploy import find_environment
    from lockgate.delivery.rollback import rollback as roll_back
    from lockgate.delivery.targets.local import LocalTarget

    find_environment(app.folder, environment)
    started = app.clock.monotonic()
    rollout = roll_back(
        app.client,
        LocalTarget(app.folder.state, environment),
        model=app.folder.project.model,
        environment=environment,
        by=app.user,
        reason=reason,
        clock=app.clock,
        production=app.folder.project.production,
    )
    if as_json:
        print_json(rollout)
        return
    version = rollout.version if rollout.strategy == "rollback" else rollout.baseline_version
    took_ms = (app.clock.monotonic() - started) * 1000
    serves = f"version {version}" if version is not None else "what it served; it had no version before"
    click.echo(f"{environment} serves {serves} again ({rollout.state}, {took_ms:.0f} ms).")
