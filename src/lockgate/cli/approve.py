"""`lockgate approve`: somebody's word that a version may enter an environment."""

import click

from lockgate.cli.app import App


@click.command
@click.argument("version", required=False, metavar="[MODEL][@VERSION|@ALIAS]")
@click.option("--for", "--to", "environment", required=True, metavar="ENV", help="The environment it may enter.")
@click.option("--comment", default="", help="Kept with the approval.")
@click.pass_obj
def approve(app: App, version: str | None, environment: str, comment: str) -> None:
    """Approve a version for an environment, under your name.

    Without a version it is the challenger. Approving twice counts once.

    \b
    Example: lockgate approve churn@3 --for production --comment "checked the slices"
    """
    from lockgate.cli.reference import resolve_version
    from lockgate.delivery.deploy import find_environment
    from lockgate.entities import Approval

    needed = find_environment(app.folder, environment).approvals
    model, number = resolve_version(app.folder, app.client, version)
    # A server that asks for a login records who logged in, whatever name we give.
    given = app.client.registry.approve(
        Approval(
            model=model,
            version=number,
            environment=environment,
            approver=app.user,
            approved_at=app.clock.now_ms(),
            comment=comment,
        )
    )
    approvers = {known.approver for known in app.client.registry.list_approvals(model, number, environment)}
    asked = f"{len(approvers)} of {needed} needed" if needed else "it asks for none"
    click.echo(f"{given.approver} approved {model}@{number} for {environment}: {asked}.")
