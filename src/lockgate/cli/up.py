"""`lockgate up`: everything of one project on one machine."""

import click

from lockgate.cli.app import App


@click.command
@click.option(
    "--api-port",
    type=click.IntRange(1, 65535),
    help="Port of the API and the pages.  [default: setting api_port, 5000]",
)
@click.option(
    "--serve-port",
    type=click.IntRange(1, 65535),
    help="Port of the first environment.  [default: setting serve_port, 8080]",
)
@click.option("--host", help="Address to listen on.  [default: setting host, 127.0.0.1]")
@click.pass_obj
def up(app: App, api_port: int | None, serve_port: int | None, host: str | None) -> None:
    """Run everything on this machine: API and pages, one replica an environment, rollouts, monitor, schedule.

    Prints where everything is and runs until it is stopped with Ctrl-C or SIGTERM. What it was doing when it was
    killed goes on when it is started again.

    \b
    Example: lockgate up --api-port 5000 --serve-port 8080
    """
    import os
    import sys

    from lockgate.automation.guard import only_one
    from lockgate.automation.project_file import put_in_force
    from lockgate.config import masked
    from lockgate.errors import InvalidInput
    from lockgate.server.replicas import plan_ports
    from lockgate.server.up import run_up
    from lockgate.telemetry import configure_logging

    settings = app.settings
    if settings.uri:
        raise InvalidInput(f"`lockgate up` serves a project's own state, not the server at {masked(settings.uri)}.")
    configure_logging(settings.log_format)
    with only_one(app.folder.state, app.clock) as announce:
        folder = put_in_force(app.folder.root)
        run_up(
            folder,
            settings=settings,
            host=host or settings.host,
            api_port=api_port or settings.api_port,
            ports=plan_ports(folder, first=serve_port or settings.serve_port),
            clock=app.clock,
            user=app.user,
            say=click.echo,
            announce=announce,
        )
    # Threads of automation may wait in the middle of a step, which is repeated at the next start (workflows.py).
    sys.stdout.flush()
    os._exit(0)
