"""Running an ASGI application over HTTP in this process: in a thread, or as a coroutine.

The connections are uvicorn's; its server is not used, because it takes the signals of the process, looks around ten
times a second and waits without end for a client that never finishes. Signals stay with the caller here. The port is
taken, by a socket that listens, before anything else: so a taken port is an error with a name, and port 0 is known
before the first request.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvloop
from starlette.types import ASGIApp

from lockgate.errors import InvalidInput, Unavailable
from lockgate.server.origin import require_loopback

if TYPE_CHECKING:
    from uvicorn.server import ServerState

_BACKLOG = 1024
_END_LIMIT_S = 10.0
_POLL_S = 0.01


class RunningServer:
    """A server in a thread of this process. `url` has no slash at its end."""

    def __init__(
        self, url: str, port: int, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, thread: threading.Thread
    ) -> None:
        self.url = url
        self.port = port
        self._loop = loop
        self._stop = stop
        self._thread = thread

    def stop(self) -> None:
        """Answer what is being asked, then end. A second call does nothing."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop ended by itself in between
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def __enter__(self) -> "RunningServer":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def serve_in_thread(
    app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, setting: str = "api_port", is_guarded: bool = False
) -> RunningServer:
    """A server that answers when this returns; port 0 means any free one.

    Raises InvalidInput for an address that others could reach, unless the application `is_guarded` by a login, and
    for a taken port (naming `setting`).
    """
    reserved = reserve_port(host, port, setting=setting, is_guarded=is_guarded)
    port = reserved.getsockname()[1]
    settled = threading.Event()  # it listens, or it has failed
    shared: dict[str, Any] = {}

    async def main() -> None:
        shared["loop"], shared["stop"] = asyncio.get_running_loop(), asyncio.Event()

        def on_ready() -> None:
            shared["ready"] = True
            settled.set()

        await _serve_on(reserved, app, shared["stop"], on_ready=on_ready)

    def run() -> None:
        try:
            with reserved:
                uvloop.run(main())
        except BaseException as error:  # noqa: BLE001  # handed to the caller below; a thread has nobody to raise to
            shared["error"] = error
        finally:
            settled.set()

    thread = threading.Thread(target=run, name=f"lockgate-server-{port}", daemon=True)
    thread.start()
    settled.wait()
    if not shared.get("ready"):
        thread.join()
        raise Unavailable(f"the server on {host}:{port} did not start.") from shared.get("error")
    return RunningServer(f"http://{_netloc(host, port)}", port, shared["loop"], shared["stop"], thread)


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    setting: str = "api_port",
    is_guarded: bool = False,
    on_ready: Callable[[str], None] = lambda url: None,
    end_limit_s: float = _END_LIMIT_S,
) -> None:
    """Serve until `stop` is set, then answer what is being asked and return. Raises like `serve_in_thread`.

    `on_ready` is told the URL once the server answers. Who has no answer `end_limit_s` after the stop gets none.
    """
    with reserve_port(host, port, setting=setting, is_guarded=is_guarded) as reserved:
        url = f"http://{_netloc(host, reserved.getsockname()[1])}"
        await _serve_on(reserved, app, stop, on_ready=lambda: on_ready(url), end_limit_s=end_limit_s)


def reserve_port(
    host: str, port: int, *, setting: str = "api_port", key: str = "", is_guarded: bool = False
) -> socket.socket:
    """A socket that listens and so keeps the port; `setting`, or `key` of lockgate.yaml, is where the port comes from.

    Raises InvalidInput where it is taken, or the host is not ours or, without a login, one that others could reach.
    """
    if not is_guarded:
        require_loopback(host)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidInput(f"cannot listen on {host}: {error.strerror}.") from error
    try:
        # Forgives connections that linger from before a restart, but not somebody who listens.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by each connection: a client that vanished without a word is noticed by the system.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        taken.bind(address)
        taken.listen(_BACKLOG)
    except OSError as error:
        taken.close()
        if isinstance(error, PermissionError):
            raise InvalidInput(f"port {port} needs more rights than we have.", hint="use a port above 1023") from error
        raise InvalidInput(
            f"port {port} on {host} is taken by another program.",
            hint=f"stop it, or choose another port: LOCKGATE_{setting.upper()}=N (setting {setting})"
            + (f", or {key} in lockgate.yaml" if key else ""),
        ) from error
    return taken


async def _serve_on(
    listening: socket.socket,
    app: ASGIApp,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[], None],
    end_limit_s: float = _END_LIMIT_S,
) -> None:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from lockgate.server.connection import ApiConnection, Brief

    config = Config(
        app,
        http=ApiConnection,
        interface="asgi3",
        ws="none",
        lifespan="off",
        proxy_headers=False,
        access_log=False,
        log_config=None,
    )
    config.load()
    state = ServerState()
    brief = app if isinstance(app, Brief) else None
    server = await asyncio.get_running_loop().create_server(
        lambda: ApiConnection(config, state, brief=brief), sock=listening, backlog=_BACKLOG
    )
    on_ready()
    try:
        await stop.wait()
    finally:
        server.close()
        await _end(state, end_limit_s)


async def _end(state: "ServerState", limit_s: float) -> None:
    """Close connections, each as soon as it has its answer, and all of them after a while."""
    for connection in list(state.connections):
        connection.shutdown()
    loop = asyncio.get_running_loop()
    limit = loop.time() + limit_s
    while (state.connections or state.tasks) and loop.time() < limit:
        await asyncio.sleep(_POLL_S)
    for connection in list(state.connections):
        connection.transport.abort()
    if state.tasks:  # who is gone has nothing left to wait for
        await asyncio.wait(state.tasks, timeout=1.0)


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
