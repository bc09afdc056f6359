"""`lockgate server`: the tracking and registry API alone."""

import click

from lockgate.cli.app import App


@click.command
@click.option("--host", help="Address to listen on; one that others can reach needs users. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. [default: 5000]")
@click.pass_obj
def server(app: App, host: str | None, port: int | None) -> None:
    """Run the tracking and registry API of this project, until Ctrl-C.

    Training code logs to it with `mlflow.set_tracking_uri(...)` or `LOCKGATE_URI`. Once there are users
    (`lockgate users add`) everybody logs in, and the server may listen on an address that others can reach.

    \b
    Example: lockgate server --port 5001
    """
    import asyncio
    import signal

    import uvloop

    from lockgate.server.app import make_app
    from lockgate.server.context import open_installation
    from lockgate.server.heap import bound_heap, settle_heap
    from lockgate.server.run import serve
    from lockgate.telemetry import configure_logging

    bound_heap()
    settings = app.settings
    host = settings.host if host is None else host
    port = settings.api_port if port is None else port
    configure_logging(settings.log_format)
    context = open_installation(app.folder.state, settings=settings, user=app.user, clock=app.clock)
    api = make_app(context, settings=settings)

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)

        def on_ready(url: str) -> None:
            settle_heap()
            click.echo(f"listening on {url}")

        await serve(api, host, port, stopping, is_guarded=api.requires_login, on_ready=on_ready)

    try:
        with api.courier():
            uvloop.run(main())
    finally:
        api.close()
        context.close()
    click.echo("stopped.")
