"""One process that answers an environment's prediction requests until it is told to stop."""

import asyncio
import gc
import os
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random

from lockgate.clock import Clock
from lockgate.config import Settings
from lockgate.data.predictions import PredictionLog
from lockgate.errors import InvalidInput, Unavailable
from lockgate.serving.app import App
from lockgate.serving.batch import Batcher
from lockgate.serving.fleet import Fleet, forget_old_replicas

_DRAIN_S = 10.0
_BACKLOG = 1024


def run_replica(
    *,
    state: Path,
    environment: str,
    host: str,
    port: int,
    settings: Settings,
    clock: Clock,
    seed: int | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve what `<state>/serving/<environment>/traffic.json` says, until SIGTERM or SIGINT.

    `port` 0 takes a free one; `announce` is called with the address once requests are taken. Versions are drawn with
    `seed`, at random without one. Raises InvalidInput where the port is not ours to take.
    """
    port = require_port(host, port)
    folder = state / "serving" / environment
    folder.mkdir(parents=True, exist_ok=True)
    forget_old_replicas(folder, now_ms=clock.now_ms())
    import uvloop

    uvloop.run(_serve(state, environment, folder, host, port, settings, clock, seed, announce))


async def _serve(
    state: Path,
    environment: str,
    folder: Path,
    host: str,
    port: int,
    settings: Settings,
    clock: Clock,
    seed: int | None,
    announce: Callable[[str], None] | None,
) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    loop = asyncio.get_running_loop()
    # Requests make many short-lived objects and no cycles: looking for cycles every 700 objects is wasted.
    gc.set_threshold(20_000, 20, 50)
    replica = f"{os.getpid()}-{secrets.token_hex(3)}"
    log = PredictionLog(
        folder / "predictions",
        replica=replica,
        clock=clock,
        keep_days=settings.prediction_log_days,
        keep_mb=settings.prediction_log_mb,
    )
    fleet = Fleet(
        state=state,
        environment=environment,
        folder=folder,
        replica=replica,
        poll_s=settings.traffic_poll_ms / 1000,
        clock=clock,
        rng=Random(seed),
    )
    batcher = Batcher(loop, log, clock)
    app = App(fleet, batcher, folder=folder, max_body_bytes=settings.max_body_mb << 20, clock=clock)
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=_BACKLOG,
        log_enabled=False,
    )
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    watching = loop.create_task(fleet.follow())
    serving = loop.create_task(server.serve())
    if announce is not None:
        await _listening(host, port)
        announce(f"http://{host}:{port}")
    await asyncio.wait({loop.create_task(stopped.wait()), serving, watching}, return_when=asyncio.FIRST_COMPLETED)
    await _drain(app)
    server.stop()  # type: ignore[no-untyped-call]  # granian's
    await asyncio.wait({serving}, timeout=_DRAIN_S)
    fleet.stop()
    batcher.close()
    for task in (serving, watching):
        if task.done() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]  # checked on the line above
        task.cancel()


async def _drain(app: App) -> None:
    """Let the requests that are here finish."""
    deadline = asyncio.get_running_loop().time() + _DRAIN_S
    while app.facts.in_flight and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)


async def _listening(host: str, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        return


def require_port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises InvalidInput where it is taken or not allowed.

    Asked beforehand, because the server shares ports: a second one on the same port would quietly get half of the
    requests.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise InvalidInput(
                f"port {port} may not be used by this user.", hint="choose one above 1023: --port N"
            ) from None
        except socket.gaierror as error:
            raise InvalidInput(f"{host!r} is no address of this machine: {error.strerror}.") from error
        except OSError as error:
            raise Unavailable(
                f"port {port} of {host} cannot be listened on: {error.strerror}.",
                hint="stop the process that has it, or choose another one: --port N",
            ) from error
        return int(probe.getsockname()[1])
