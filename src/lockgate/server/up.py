"""`lockgate up`: API, replicas, rollouts, monitor, triggers and schedule of one project on one machine.

    control process  API and pages   this event loop; answers before anything else is imported
                     automation      a thread; DBOS is imported there
      child          one replica an environment, kept running
      child          `lockgate run`, `lockgate monitor`, when there is something to do

The control process never imports a numerical library. Children are stopped by the kernel when it dies.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable

import uvloop
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lockgate.automation.guard import write_key
from lockgate.client.client import Client
from lockgate.clock import Clock
from lockgate.config import Settings
from lockgate.metadata.access import has_admin
from lockgate.project import Folder
from lockgate.server.app import make_app
from lockgate.server.context import Context, open_installation
from lockgate.server.heap import bound_heap, settle_heap
from lockgate.server.local import LocalTransport
from lockgate.server.origin import is_loopback
from lockgate.server.replicas import Replica
from lockgate.server.run import reserve_port, serve

log = logging.getLogger("lockgate.up")

_WATCH_EVERY_S = 0.25
_THREAD_END_LIMIT_S = 2.0


def run_up(
    folder: Folder,
    *,
    settings: Settings,
    host: str,
    api_port: int,
    ports: dict[str, int],
    clock: Clock,
    user: str,
    say: Callable[[str], None],
    announce: Callable[[str], None],
) -> None:
    """Run until SIGTERM or SIGINT, then stop everything gracefully.

    `ports` has one an environment; `announce` is told the API's address once it answers.

    Raises InvalidInput for a port that is taken and an address that others could reach, Conflict for a database that
    must be migrated. Steps of automation that were cut short stay in their threads: end the process with `os._exit`.
    """
    bound_heap()
    for environment, port in ports.items():
        reserve_port(_serve_host(host), port, setting="serve_port", key=f"environments.{environment}.port").close()
    context = open_installation(folder.state, settings=settings, user=user, clock=clock)
    try:
        reserve_port(host, api_port, is_guarded=_has_users(context)).close()
        uvloop.run(_run(folder, context, settings, host, api_port, ports, clock, user, say, announce))
    except BaseException:
        context.close()
        raise


async def _run(
    folder: Folder,
    context: Context,
    settings: Settings,
    host: str,
    api_port: int,
    ports: dict[str, int],
    clock: Clock,
    user: str,
    say: Callable[[str], None],
    announce: Callable[[str], None],
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    automation = AutomationThread(
        folder, Client(LocalTransport(context), clock), clock=clock, user=user, on_failure=stopping.set, loop=loop
    )
    ready = Route("/ready", automation.answer_ready)
    app = make_app(context, settings=settings, further=[ready], local_key=write_key(folder.state))
    serve_host = _serve_host(host)
    replicas = [Replica(folder, name, host=serve_host, port=port, clock=clock) for name, port in ports.items()]
    ready_at: asyncio.Future[str] = loop.create_future()
    async with asyncio.TaskGroup() as tasks:
        is_guarded = app.requires_login
        tasks.create_task(serve(app, host, api_port, stopping, is_guarded=is_guarded, on_ready=ready_at.set_result))
        url = await ready_at
        announce(url)
        for line in _places(folder, url, replicas):
            say(line)
        for replica in replicas:
            tasks.create_task(replica.keep(stopping))
        automation.start()
        courier = app.courier().start()
        await stopping.wait()
        say("stopping")
        await asyncio.to_thread(automation.stop)
        await asyncio.to_thread(courier.stop)
    app.close()
    if automation.error is not None:
        raise automation.error


def _has_users(context: Context) -> bool:
    with context.read() as connection:
        return has_admin(connection)


def _serve_host(host: str) -> str:
    """Where replicas listen: they ask for no login, so an address that others could reach is not for them."""
    return host if is_loopback(host) else "127.0.0.1"


def _places(folder: Folder, api: str, replicas: list[Replica]) -> list[str]:
    """Where everything is, one line each."""
    lines = [
        f"{folder.project.model}: {folder.root}",
        f"  pages and API   {api}/  (MLFLOW_TRACKING_URI={api})",
        f"  health, ready   {api}/health  {api}/ready  {api}/metrics",
    ]
    for replica in replicas:
        model = f"http://{replica.host}:{replica.port}/v2/models/{folder.project.model}/infer"
        lines.append(f"  {replica.environment:<15} {model}")
        lines.append(f"  {'':<15} http://{replica.host}:{replica.port}/metrics  log: {replica.log}")
    return lines


class AutomationThread:
    """Everything that happens by itself, beside the event loop; its outermost loop."""

    def __init__(
        self,
        folder: Folder,
        client: Client,
        *,
        clock: Clock,
        user: str,
        on_failure: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.error: Exception | None = None
        self._arguments = (folder, client, clock, user)
        self._on_failure = on_failure
        self._loop = loop
        self._stopping = threading.Event()
        self._is_ready = threading.Event()
        self._stop_automation: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="automation", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._stop_automation()
        self._thread.join(_THREAD_END_LIMIT_S)

    async def answer_ready(self, request: Request) -> Response:
        """200 once rollouts, monitor and triggers are at work; /health answers before."""
        if self._is_ready.is_set():
            return PlainTextResponse("OK")
        return PlainTextResponse("starting", status_code=503, headers={"retry-after": "1"})

    def _run(self) -> None:
        try:
            self._start()
        except Exception as error:
            log.exception("automation could not be started")
            self.error = error
            self._loop.call_soon_threadsafe(self._on_failure)

    def _start(self) -> None:
        from lockgate.automation.workflows import Automation

        folder, client, clock, user = self._arguments
        automation = Automation(folder, client, clock=clock, user=user)
        self._stop_automation = automation.stop
        automation.start()
        settle_heap()
        self._is_ready.set()
        while not self._stopping.wait(_WATCH_EVERY_S):
            try:
                automation.watch()
            except Exception:
                # One bad look must not end all the others.
                log.exception("a look at the project failed; the next one follows")
