"""Running an ASGI application on granian, embedded in this process: in a thread, or as a coroutine.

Signals stay with the caller: neither form installs a handler. The port is taken before granian starts, with a socket
that stays bound (and never listens) for as long as the server runs. So a taken port is an error with a name, port 0
is known before the first request, and no two servers share a port by accident.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop
from starlette.types import ASGIApp

from lockgate.errors import DeadlineExceeded, InvalidInput, Unavailable
from lockgate.server.origin import require_loopback

_START_LIMIT_S = 30.0
_POLL_S = 0.01
_THREADS_LIMIT_S = 1.0


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

        await _serve_reserved(app, host, port, shared["stop"], on_ready=on_ready)

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
) -> None:
    """Serve until `stop` is set, then answer what is being asked and return. Raises like `serve_in_thread`.

    `on_ready` is told the URL once the server answers.
    """
    with reserve_port(host, port, setting=setting, is_guarded=is_guarded) as reserved:
        port = reserved.getsockname()[1]
        url = f"http://{_netloc(host, port)}"
        await _serve_reserved(app, host, port, stop, on_ready=lambda: on_ready(url))


def reserve_port(
    host: str, port: int, *, setting: str = "api_port", key: str = "", is_guarded: bool = False
) -> socket.socket:
    """A bound socket that keeps the port for us; `setting`, or `key` of lockgate.yaml, is where it comes from.

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
        # REUSEADDR forgives connections that linger from before a restart, but not somebody who listens. REUSEPORT
        # comes after the bind: now granian may bind beside us, while before it a second server would have slipped in.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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


async def _serve_reserved(
    app: ASGIApp, host: str, port: int, stop: asyncio.Event, *, on_ready: Callable[[], None] = lambda: None
) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    logging.getLogger("_granian").setLevel(logging.ERROR)
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_enabled=False,
        backlog=1024,
    )
    before = _foreign_threads()
    serving = asyncio.ensure_future(server.serve())
    started: frozenset[int] = frozenset()
    try:
        await _until_either(serving, wait_until_listening(host, port))
        started = _foreign_threads() - before
        if not serving.done():
            on_ready()
        await _until_either(serving, stop.wait())
    finally:
        if not serving.done():
            server.stop()  # type: ignore[no-untyped-call]  # granian has no annotations here
        await serving
        await _wait_until_ended(started)


async def _until_either(serving: asyncio.Future[None], other: Coroutine[Any, Any, Any]) -> None:
    """Wait for one of them; what `other` raises is raised here, and it is cancelled where the server ends first."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(other)  # its value is of no interest, its error is
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if waiting.done():
        waiting.result()
    else:
        waiting.cancel()


def _foreign_threads() -> frozenset[int]:
    """Threads of this process that Python does not know, so granian's among them; empty where /proc is missing."""
    try:
        tasks = {int(entry.name) for entry in Path("/proc/self/task").iterdir()}
    except OSError:
        return frozenset()
    return frozenset(tasks - {thread.native_id for thread in threading.enumerate()})


async def _wait_until_ended(threads: frozenset[int]) -> None:
    """granian's own threads outlive its shutdown by a moment; one that meets a finished interpreter aborts it."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + _THREADS_LIMIT_S
    while threads & _foreign_threads() and loop.time() < limit:
        await asyncio.sleep(0.001)


async def wait_until_listening(host: str, port: int) -> None:
    """Return as soon as something accepts connections there. Raises DeadlineExceeded."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + _START_LIMIT_S
    while loop.time() < limit:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(_POLL_S)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return
    raise DeadlineExceeded(f"the server on {host}:{port} did not listen within {_START_LIMIT_S:g} seconds.")


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
