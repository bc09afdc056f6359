"""`lockgate serve`: one replica in the foreground."""

import click

from lockgate.cli.app import App
from lockgate.errors import InvalidInput


@click.command()
@click.argument("version", required=False, metavar="[MODEL[@VERSION|@ALIAS]]")
@click.option("--env", "environment", help="Serve this environment's traffic. Default: the last one of lockgate.yaml.")
@click.option("--host", help="Address to listen on. Default: the setting host.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one. Default: the setting serve_port.")
@click.option("--seed", type=int, help="Draw versions of a split with this seed instead of at random.")
@click.pass_obj
def serve(
    app: App, version: str | None, environment: str | None, host: str | None, port: int | None, seed: int | None
) -> None:
    """Answer prediction requests over HTTP until stopped.

    Without VERSION the replica serves what is deployed in an environment and follows every deploy and rollback without
    dropping a request. With VERSION it serves that one alone, for trying it out.

    It speaks the Open Inference Protocol (POST /v2/models/MODEL/infer) and MLflow's POST /invocations, takes labels at
    POST /feedback and shows Prometheus metrics at /metrics. Every prediction is logged below .lockgate/serving/.

    \b
    Example:
      lockgate serve --env production --port 8080
      curl -H 'content-type: application/json' localhost:8080/invocations \\
        -d '{"dataframe_records": [{"age": 42, "plan": "basic"}]}'
    """
    from lockgate.cli.environment import chosen_environment
    from lockgate.serving.replica import require_port, run_replica
    from lockgate.telemetry import configure_logging

    folder = app.folder
    configure_logging(app.settings.log_format)
    host = host or app.settings.host
    port = require_port(host, app.settings.serve_port if port is None else port)
    if version is not None:
        if environment is not None:
            raise InvalidInput("VERSION and --env exclude each other: an environment serves what is deployed there.")
        environment = _publish_alone(app, version, port)
    else:
        environment = chosen_environment(folder.project, environment)
    run_replica(
        state=folder.state,
        environment=environment,
        host=host,
        port=port,
        settings=app.settings,
        clock=app.clock,
        seed=seed,
        announce=lambda address: click.echo(f"serving {environment} at {address}"),
    )


def _publish_alone(app: App, version: str, port: int) -> str:
    """Give one version all the traffic of a serving folder of its own."""
    from lockgate.cli.reference import resolve_version
    from lockgate.entities import Traffic, TrafficShare
    from lockgate.serving.traffic import write_traffic

    model, number = resolve_version(app.folder, app.client, version)
    release = app.client.registry.get_release(model, number)
    environment = f"adhoc-{port}"
    now = app.clock.now_ms()
    share = TrafficShare(version=number, digest=release.content.digest, share=1.0)
    traffic = Traffic(model=model, environment=environment, revision=now, shares=(share,), changed_at=now)
    write_traffic(app.folder.state / "serving" / environment, traffic)
    return environment
