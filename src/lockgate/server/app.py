"""The ASGI shell: a request -> the struct of its operation -> the handler, off the event loop -> JSON.

Operations with a fixed path, the hot ones among them, are found by one dictionary look-up; everything else (paths with
parameters, files, pages) by Starlette's router. Handlers know nothing of HTTP; errors become MLflow's error body
`{"error_code", "message"}` with the status of their class, and anything unexpected a 500 that names nothing but the
request id under which the traceback is logged.

There is no login, so only programs of this machine are served: a request whose `Host` is not a loopback name (DNS
rebinding) or whose `Origin` is another site (a web page that posts to localhost) is refused.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Router
from starlette.routing import Route as HttpRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.config import Settings
from lockgate.server import origin
from lockgate.server.answer import ErrorBody, answer_error, answer_struct, send_bytes
from lockgate.server.context import AnyRoute, Context
from lockgate.server.decode import decode_request, read_body
from lockgate.server.health import health_routes
from lockgate.server.meter import Meter
from lockgate.server.pages import page_routes
from lockgate.server.proxy import ArtifactProxy
from lockgate.server.table import ROUTES
from lockgate.wire.mlflow.artifacts import PROXY_PATH
from lockgate.wire.operation import MLFLOW_PREFIX, MLFLOW_UI_PREFIX

# Enough to overlap reads with one write; more threads only fight for the interpreter.
_THREADS = 4
_PROXY_PATHS = (PROXY_PATH, PROXY_PATH.replace("/api/", "/ajax-api/"))


class Api:
    """The whole server as one ASGI application. `close` ends its threads; the context stays the caller's."""

    def __init__(self, context: Context, *, settings: Settings, further: Sequence[BaseRoute] = ()) -> None:
        self._context = context
        self._max_body = settings.max_body_mb << 20
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="lockgate-api")
        self._meter = Meter()
        self._fixed: dict[tuple[str, str], AnyRoute] = {}
        routes: list[BaseRoute] = []
        for route in ROUTES:
            for path in _paths(route):
                if route.operation.path_fields:
                    routes.append(self._with_parameters(route, path))
                else:
                    self._fixed[route.operation.method, path] = route
        proxy = ArtifactProxy(context, self._pool)
        routes += [HttpRoute(f"{path}/{{path:path}}", proxy, methods=["GET", "PUT"]) for path in _PROXY_PATHS]
        routes += health_routes(context, self._meter)
        # Not `Starlette(...)`: its outermost layer answers 500 to every exception before ours can name it.
        self._router: ASGIApp = ExceptionMiddleware(
            Router([*routes, *page_routes(context), *further]), handlers={404: _no_such_path}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        with self._meter.request() as measured:
            started = False

            async def noting(message: Message) -> None:
                nonlocal started
                if message["type"] == "http.response.start":
                    started, measured.status = True, message["status"]
                await send(message)

            try:
                origin.require_local(scope)
                route = self._fixed.get((scope["method"], scope["path"]))
                if route is not None:
                    measured.operation = route.operation.name
                    await self._perform(route, scope, receive, noting, {})
                else:
                    # The router raises an HTTPException only where it finds an application in the scope.
                    await self._router({**scope, "app": self}, receive, noting)
            except Exception as error:  # the outermost loop: one bad request must not end the server
                if started:
                    raise  # half an answer is out: all that is left is to cut the connection
                await answer_error(noting, error)

    async def _perform(
        self, route: AnyRoute, scope: Scope, receive: Receive, send: Send, path_params: Mapping[str, str]
    ) -> None:
        body = await read_body(scope, receive, limit=self._max_body)
        request = decode_request(route.operation, query=scope["query_string"], body=body, path_params=path_params)
        context = self._context.as_user(origin.caller(scope) or self._context.user)
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._pool, route.handler, context, request)
        await send_bytes(send, 200, answer_struct(answer))

    def _with_parameters(self, route: AnyRoute, path: str) -> BaseRoute:
        async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            await self._perform(route, scope, receive, send, scope["path_params"])

        return HttpRoute(path, _AsgiEndpoint(endpoint), methods=[route.operation.method])

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class _AsgiEndpoint:
    """Starlette hands requests to functions and scopes to other callables; ours wants the scope."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


def make_app(context: Context, *, settings: Settings | None = None, further: Sequence[BaseRoute] = ()) -> Api:
    """An ASGI application that serves `context`; `further` are routes that only this process has."""
    return Api(context, settings=settings or Settings(), further=further)


def _paths(route: AnyRoute) -> tuple[str, ...]:
    """MLflow's operations answer under the prefix of its pages as well."""
    path = route.operation.path
    if path.startswith(MLFLOW_PREFIX):
        return path, MLFLOW_UI_PREFIX + path.removeprefix(MLFLOW_PREFIX)
    return _PROXY_PATHS if path == PROXY_PATH else (path,)


async def _no_such_path(request: Request, error: Exception) -> Response:
    # MLflow's clients look for this code to learn that a server is older than they are.
    body = ErrorBody("ENDPOINT_NOT_FOUND", f"there is nothing at {request.method} {request.url.path}.")
    return Response(answer_struct(body), status_code=404, media_type="application/json")
