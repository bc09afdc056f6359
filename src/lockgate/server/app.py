"""The ASGI shell: a request -> the struct of its operation -> the handler, off the event loop -> JSON.

Operations with a fixed path, the hot ones among them, are found by one dictionary look-up; everything else (paths with
parameters, files, pages) by Starlette's router. Handlers know nothing of HTTP; errors become MLflow's error body
`{"error_code", "message"}` with the status of their class, and anything unexpected a 500 that names nothing but the
request id under which the traceback is logged.

Without users there is no login, so only programs of this machine are served: a request whose `Host` is not a loopback
name (DNS rebinding) is refused. From the first user on everything but `PUBLIC` needs a login (`login`). A request whose
`Origin` is another site (a web page that posts to us) is refused in either case.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Router
from starlette.routing import Route as HttpRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.config import Settings
from lockgate.errors import InvalidInput, Unavailable
from lockgate.server import origin
from lockgate.server.admitted import ADMITTED
from lockgate.server.answer import Answer, answer_error, error_body
from lockgate.server.at_once import AtOnce
from lockgate.server.connection import Beforehand
from lockgate.server.context import AnyRoute, Context
from lockgate.server.courier import Courier
from lockgate.server.decode import decode_request, read_body
from lockgate.server.health import health_routes
from lockgate.server.located_files import located_routes
from lockgate.server.login import FRESH_S, Login
from lockgate.server.meter import MEASURED, Measured, Meter
from lockgate.server.pages import page_routes
from lockgate.server.perform import answer_in_json
from lockgate.server.proxy import ArtifactProxy
from lockgate.server.routes import artifacts, purge
from lockgate.server.table import ROUTES
from lockgate.server.unserved import unserved_routes
from lockgate.server.workers import Workers
from lockgate.wire import webhooks
from lockgate.wire.mlflow import webhooks as mlflow_webhooks
from lockgate.wire.mlflow.artifacts import PROXY_PATH
from lockgate.wire.operation import MLFLOW_PREFIX, MLFLOW_UI_PREFIX
from lockgate.wire.series import LOG_SERIES

# Enough to keep the database busy; more threads only fight for the interpreter. Of their own for what reads, measures
# and decides: a read waits for nobody, a measurement perhaps for its run, which somebody holds, and a decision for its
# turn, and none of them may take the threads of the others meanwhile.
_THREADS = 4
# And for what asks the store for artifacts, which may be slow.
_FILE_THREADS = 8
_ASK_THE_STORE = frozenset(route.operation.name for route in (*artifacts.ROUTES, *purge.ROUTES))
# And for what asks a receiver of webhooks: people try one now and then, and wait for nobody but each other.
_TRY_THREADS = 2
_ASK_A_RECEIVER = frozenset(operation.name for operation in (webhooks.TEST_WEBHOOK, mlflow_webhooks.TEST_WEBHOOK))
# What is being written at the end is finished, but nobody is waited for who does not answer: a store, a receiver, or
# the database.
_END_LIMIT_S = 15.0
_OTHERS_END_LIMIT_S = 5.0
# From here on it may take longer to decode a body than others should have to wait for the event loop.
_LARGE_BODY = 1 << 20
# What load balancers and clients ask before they can log in. It tells nothing of what is recorded.
PUBLIC = frozenset({"/health", "/ready", "/version"})
# Wanted most while the database is away: the newest copy there is of who may log in will do then.
_METRICS = "/metrics"
_PROXY_PATHS = (PROXY_PATH, PROXY_PATH.replace("/api/", "/ajax-api/"))


class Api:
    """The whole server as one ASGI application. `close` ends its threads; the context stays the caller's."""

    def __init__(
        self, context: Context, *, settings: Settings, further: Sequence[BaseRoute] = (), local_key: str = ""
    ) -> None:
        self._context = context.configured(settings)
        self._login = Login(context.database, context.clock, local_user=context.user, local_key=local_key)
        self._max_body = settings.max_body_mb << 20
        self._readers = Workers(_THREADS, name="lockgate-read")
        self._measurers = Workers(_THREADS, name="lockgate-measure")
        self._deciders = Workers(_THREADS, name="lockgate-decide")
        self._file_workers = Workers(_FILE_THREADS, name="lockgate-files")
        self._try_workers = Workers(_TRY_THREADS, name="lockgate-try")
        self._meter = Meter()
        self._fixed: dict[str, dict[str, AnyRoute]] = {}  # by path and method
        at_once = AtOnce(self._context, self._login, self._measurers, self._meter)
        self.beforehand: dict[tuple[bytes, bytes], Beforehand] = {}
        with_parameters: dict[str, dict[str, AnyRoute]] = {}
        for route in ROUTES:
            for path in _paths(route):
                if route.operation.path_fields:
                    with_parameters.setdefault(path, {})[route.operation.method] = route
                else:
                    self._fixed.setdefault(path, {})[route.operation.method] = route
                    if route.is_brief:
                        key = route.operation.method.encode(), path.encode()
                        self.beforehand[key] = partial(at_once.answerer, route)
        self._files = ArtifactProxy(self._file_workers, limit_bytes=(settings.max_artifact_mb << 20) or None)
        self.cleaned = self._files.clean(self._context)  # done when nothing is left of uploads that were killed
        routes: list[BaseRoute] = [self._routed_to(path, by_method) for path, by_method in with_parameters.items()]
        routes += [HttpRoute(f"{path}/{{path:path}}", self._files, methods=["GET", "PUT"]) for path in _PROXY_PATHS]
        routes += located_routes(self._files, self._readers)
        routes += unserved_routes()
        routes += health_routes(context, self._meter)
        routes += [*page_routes(self._readers), *further]
        # For HEAD, and to know a path that is asked for by a method that it does not take.
        routes += [self._routed_to(path, by_method) for path, by_method in self._fixed.items()]
        self.router = Router(routes, redirect_slashes=False)
        # Not `Starlette(...)`: its outermost layer answers 500 to every exception before ours can name it.
        self._routed: ASGIApp = ExceptionMiddleware(self.router, handlers={404: _no_such_path, 405: _no_such_path})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._routed(scope, receive, send)
            return
        with self._meter.request() as measured:
            try:
                route = self._fixed.get(scope["path"], {}).get(scope["method"])
                context = await self.admit(scope)
                if route is None:
                    await self._route(context, scope, receive, send, measured)
                    return
                measured.operation = route.operation.name
                answer = await self._perform(route, context, scope, receive, {})
            except asyncio.CancelledError:
                return  # the loop ends, and the connection was cut before: nobody is left to be answered
            except Exception as error:  # the outermost loop: one bad request must not end the server
                if measured.is_answered:
                    raise  # half an answer is out: all that is left is to cut the connection
                answer = answer_error(error)
            measured.status = answer.status
            await answer.send(send)

    async def _route(self, context: Context, scope: Scope, receive: Receive, send: Send, measured: Measured) -> None:
        """To where the router finds for the path, which answers by itself."""
        if "\n" in scope["path"]:  # the router's patterns end there, and it would redirect to nowhere
            raise InvalidInput("the path has a line break, which no path of this server has.")
        if "\ufffd" in scope["path"] and not _is_utf8(unquote_to_bytes(scope["raw_path"])):
            raise InvalidInput("the path is not written in UTF-8.")  # or several names would be one

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                measured.is_answered, measured.status = True, message["status"]
            await send(message)

        # The router raises an HTTPException only where it finds an application in the scope.
        await self._routed({**scope, "app": self, ADMITTED: context, MEASURED: measured}, receive, noting)

    def courier(self) -> Courier:
        """Sends this installation's webhooks from when it is entered until it is left."""
        return Courier(self._context)

    @property
    def requires_login(self) -> bool:
        """Whether there are users: only then may others than this machine connect."""
        return self._login.is_required

    async def admit(self, scope: Scope) -> Context:
        """The installation as the caller sees it now. Raises Unauthenticated, PermissionDenied, TooManyRequests."""
        sender = origin.read_sender(scope["headers"], scope.get("client"))
        is_public = scope["path"] in PUBLIC
        if not is_public:
            try:
                await self._login.keep_fresh()
            except Unavailable:
                if scope["path"] != _METRICS:
                    raise
        origin.require_ours(sender, has_login=self._login.is_required)
        if is_public:
            return self._context
        return self._context.on_behalf_of(await self._login.caller(sender))

    async def _perform(
        self,
        route: AnyRoute,
        context: Context,
        scope: Scope,
        receive: Receive,
        path_params: Mapping[str, str],
    ) -> Answer:
        clock = context.clock
        admitted_at = clock.monotonic()
        body = await read_body(scope, receive, limit=self._max_body)
        if clock.monotonic() - admitted_at > FRESH_S:  # who sent it slowly may have been removed meanwhile
            context = await self.admit(scope)
        query = scope["query_string"]
        decode = partial(decode_request, route.operation, query=query, body=body, path_params=path_params)
        workers = self._workers_for(route)
        request = decode() if len(body) < _LARGE_BODY else await workers.call(decode)
        return Answer(await workers.call(answer_in_json, route, context, request))

    def _workers_for(self, route: AnyRoute) -> Workers:
        if route.operation.name in _ASK_THE_STORE:
            return self._file_workers
        if route.operation.name in _ASK_A_RECEIVER:
            return self._try_workers
        if route.operation.method == "GET" or route.need.role in (None, "viewer"):
            return self._readers
        return self._measurers if route.is_brief or route.operation is LOG_SERIES else self._deciders

    def _routed_to(self, path: str, by_method: Mapping[str, AnyRoute]) -> BaseRoute:
        async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            route = by_method["GET" if scope["method"] == "HEAD" else scope["method"]]
            scope[MEASURED].operation = route.operation.name
            answer = await self._perform(route, scope[ADMITTED], scope, receive, scope["path_params"])
            await answer.send(send)

        return HttpRoute(path, _AsgiEndpoint(endpoint), methods=list(by_method))

    def close(self, *, limit_s: float = _END_LIMIT_S) -> None:
        """Finish what was asked for; after a while what is left ends with the process."""
        end = time.monotonic() + limit_s
        others_end = min(end, time.monotonic() + _OTHERS_END_LIMIT_S)
        self._login.close(limit_s=others_end - time.monotonic())
        for workers in (self._file_workers, self._try_workers):
            workers.close(limit_s=others_end - time.monotonic())
        for workers in (self._readers, self._measurers, self._deciders):
            workers.close(limit_s=end - time.monotonic())


class _AsgiEndpoint:
    """Starlette hands requests to functions and scopes to other callables; ours wants the scope."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


def make_app(
    context: Context, *, settings: Settings | None = None, further: Sequence[BaseRoute] = (), local_key: str = ""
) -> Api:
    """An ASGI application that serves `context`; `further` are routes that only this process has.

    Whoever sends `local_key` as a bearer token is trusted as a process of the user who started the server.
    """
    return Api(context, settings=settings or Settings(), further=further, local_key=local_key)


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _paths(route: AnyRoute) -> tuple[str, ...]:
    """MLflow's operations answer under the prefix of its pages as well."""
    path = route.operation.path
    if path.startswith(MLFLOW_PREFIX):
        return path, MLFLOW_UI_PREFIX + path.removeprefix(MLFLOW_PREFIX)
    return _PROXY_PATHS if path == PROXY_PATH else (path,)


async def _no_such_path(request: Request, error: Exception) -> Response:
    # MLflow's clients look for this code to learn that a server is older than they are.
    assert isinstance(error, HTTPException)
    # Of several routes with one path Starlette names the methods of the first.
    routes = [route for route in request.app.router.routes if route.matches(request.scope)[0] is not Match.NONE]
    allowed = ", ".join(sorted({method for route in routes for method in route.methods}))
    answer = error_body(
        "ENDPOINT_NOT_FOUND",
        f"there is nothing at {request.method} {request.url.path}.",
        f"this path takes {allowed}" if allowed else None,
    )
    headers = {"Allow": allowed} if allowed else None
    return Response(answer, status_code=error.status_code, headers=headers, media_type="application/json")
