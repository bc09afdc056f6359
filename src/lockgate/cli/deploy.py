"""`lockgate deploy`: begin a rollout and, unless `lockgate up` drives it, bring it to its end."""

from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.entities import Rollout


@click.command
@click.argument("version", required=False, metavar="[MODEL][@VERSION|@ALIAS]")
@click.option("--to", "environment", required=True, metavar="ENV", help="The environment to bring it into.")
@click.option("--override", is_flag=True, help="Let in what the gates refused; needs --reason, which is recorded.")
@click.option("--reason", default="", help="Why the gates are overridden.")
@click.option("--supersede", is_flag=True, help="End an unfinished rollout of the environment first.")
@click.option("--wait/--no-wait", default=True, help="Wait for the end of the rollout.  [default: wait]")
@click.option("--json", "as_json", is_flag=True, help="Print the rollout as JSON.")
@click.pass_obj
def deploy(
    app: App,
    version: str | None,
    environment: str,
    override: bool,
    reason: str,
    supersede: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Bring a version into an environment.

    Without a version it is the challenger. The environment's strategy in lockgate.yaml says how: all traffic at once,
    or a canary that grows while it is compared with the stable version. A rollout of the same version that was
    interrupted goes on. Exit code 3: the gates refuse the version;
    4: the rollout was rolled back.

    \b
    Example: lockgate deploy churn@3 --to production
    """
    from lockgate.automation.guard import is_driven
    from lockgate.cli.output import print_json
    from lockgate.cli.reference import resolve_version
    from lockgate.delivery.deploy import deploy as begin
    from lockgate.delivery.deploy import find_environment
    from lockgate.delivery.history import versions_served
    from lockgate.errors import InvalidInput, RolledBack

    if override != bool(reason.strip()):
        raise InvalidInput("--override and --reason TEXT belong together.")
    find_environment(app.folder, environment)
    model, number = resolve_version(app.folder, app.client, version)
    unfinished = app.client.delivery.current_rollout(model, environment)
    if unfinished is None and versions_served(app.client, model, environment)[-1:] == (number,):
        click.echo(f"{environment} serves version {number} of {model} already.", err=as_json)
        return
    if unfinished is not None and unfinished.version == number and not supersede:
        # Its driver was stopped, or is somebody else: it goes on.
        rollout = unfinished
    else:
        rollout = begin(
            app.folder,
            app.client,
            model=model,
            version=number,
            environment=environment,
            by=app.user,
            clock=app.clock,
            override_reason=reason.strip() or None,
            supersede=supersede,
        )
    driven = is_driven(app.folder.state)
    if not wait and driven:
        click.echo(f"rollout {rollout.rollout_id} of {model}@{number} to {environment} has begun.", err=as_json)
    elif not wait:
        click.echo(
            f"rollout {rollout.rollout_id} waits for a driver: lockgate up, or lockgate deploy without --no-wait.",
            err=as_json,
        )
    else:
        rollout = _wait(app, rollout, driven=driven, quiet=as_json)
    if as_json:
        print_json(rollout)
    if rollout.state == "rolled_back":
        raise RolledBack(f"{model}@{number} was rolled back in {environment}: {rollout.reason}", hint="lockgate models")


def _wait(app: App, rollout: "Rollout", *, driven: bool, quiet: bool) -> "Rollout":
    from lockgate.delivery.advance import drive, watch
    from lockgate.delivery.targets.local import LocalTarget

    def say(rollout: "Rollout") -> None:
        share = f" {rollout.steps[rollout.step]} %" if rollout.state in ("progressing", "baking") else ""
        why = f": {rollout.reason}" if rollout.reason else ""
        click.echo(f"{rollout.environment}: {rollout.state}{share}{why}", err=quiet)

    target = LocalTarget(app.folder.state, rollout.environment)
    if driven:
        return watch(app.client, target, rollout, clock=app.clock, on_change=say)
    return drive(
        app.client,
        target,
        rollout,
        clock=app.clock,
        by=app.user,
        production=app.folder.project.production,
        on_change=say,
    )
