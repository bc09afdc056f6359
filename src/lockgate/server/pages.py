"""The pages: one read transaction of records each, handed to `ui/`, which turns them into HTML."""

import mimetypes
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from lockgate.data.profile import Profile, decode_profile
from lockgate.entities import Release
from lockgate.errors import InvalidInput, LockgateError, NotFound, Unavailable
from lockgate.metadata import alerts, aliases, approvals, events, models, releases, rollouts, traffic, versions, windows
from lockgate.metadata.limits import without_nul
from lockgate.server.admitted import admitted, require_for
from lockgate.server.context import Context
from lockgate.server.needs import Need, viewer
from lockgate.server.routes.registry import summarize
from lockgate.server.subjects import of_page, of_window_page
from lockgate.server.workers import Workers
from lockgate.ui.monitor_page import render_monitor
from lockgate.ui.overview_page import EnvironmentCard, ModelCard, Overview, render_overview
from lockgate.ui.problem_page import render_problem
from lockgate.ui.release_page import render_release
from lockgate.wire.registry import VersionSummary

_MODELS = 100
_ENVIRONMENTS = 100
_VERSIONS = 12
_MOVES = 100
_EVENTS = 20
_WINDOWS = 24
# A report is made by this installation, but it shows names that others chose.
_SECURITY = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

Page = Callable[[Context, Request], Response]


def page_routes(workers: Workers) -> list[BaseRoute]:
    """Every page, for whoever may see it, made off the event loop."""

    def route(path: str, page: Page, need: Need) -> Route:
        async def endpoint(request: Request) -> Response:
            answer: Response = await workers.call(_answer, page, need, request)
            return answer

        return Route(path, endpoint)

    return [
        route("/", overview, viewer()),
        route("/releases/{model:path}/{version:int}", release, viewer(of_page)),
        route("/monitor/{window_id}", monitor, viewer(of_window_page)),
        route("/reports/{model:path}/{version:int}", report, viewer(of_page)),
        route("/reports/{model:path}/{version:int}/{name:path}", report_file, viewer(of_page)),
    ]


def _answer(page: Page, need: Need, request: Request) -> Response:
    """Raises Unavailable where there is nothing to show a problem with: a template is read when it is first wanted."""
    context = admitted(request.scope)
    try:
        try:
            require_for(need, context, request.path_params)
            answer = page(context, request)
        except LockgateError as error:
            answer = HTMLResponse(render_problem(error), error.http_status)
    except OSError as error:
        raise Unavailable(f"the page cannot be shown now: {error.strerror or error}.") from error
    answer.headers.update(_SECURITY)
    return answer


def overview(context: Context, request: Request) -> Response:
    """The models by name, those whose name begins with `prefix`, so many after the model `after`; the environments."""
    prefix, after = (without_nul(request.query_params.get(name, ""), name) for name in ("prefix", "after"))
    with context.read() as connection:
        found = models.list_models(connection, prefix=prefix, after=after, limit=_MODELS + 1)
        names = [row["name"] for row in found[:_MODELS]]
        served = traffic.list_traffic(connection)
        newest = sorted(served, key=lambda split: split.changed_at, reverse=True)
        page = Overview(
            models=_model_cards(connection, names),
            prefix=prefix,
            after=after,
            next_after=names[-1] if len(found) > _MODELS else None,
            more_environments=max(0, len(served) - _ENVIRONMENTS),
            environments=tuple(
                EnvironmentCard(
                    model=split.model,
                    name=split.environment,
                    traffic=split,
                    rollout=next(
                        iter(rollouts.list_rollouts(connection, split.model, split.environment, limit=1)), None
                    ),
                    window=next(iter(windows.list_windows(connection, split.model, split.environment, limit=1)), None),
                )
                for split in (served if len(served) <= _ENVIRONMENTS else newest[:_ENVIRONMENTS])
            ),
            alerts=alerts.list_alerts(connection, model=None, open_only=True),
            events=events.newest_events(connection, limit=_EVENTS),
            at=context.clock.now_ms(),
        )
    return HTMLResponse(render_overview(page))


def release(context: Context, request: Request) -> Response:
    """One version: its release record where it has one, verdict, approvals, history."""
    model, version = _version(request)
    with context.read() as connection:
        known = summarize(connection, [versions.get_version(connection, model, version)])[0]
        found = releases.find_release_of(connection, model, version)
        said = approvals.list_approvals(connection, model, version, None)
        moves, older = aliases.alias_history(connection, model, version=version, limit=_MOVES)
    return HTMLResponse(render_release(known, found, approvals=said, moves=moves, has_older=older is not None))


def monitor(context: Context, request: Request) -> Response:
    """One monitor window: the drifted columns beside their profile from training."""
    with context.read() as connection:
        window = windows.get_window(connection, request.path_params["window_id"])
        made = releases.get_release(connection, window.model, window.version)
        history = windows.list_windows(connection, window.model, window.environment, limit=_WINDOWS)
    page = render_monitor(
        window,
        reference=_profile(context, made.profile),
        current=_profile(context, window.profile),
        history=tuple(past for past in history if past.window_id != window.window_id),
    )
    return HTMLResponse(page)


def report(context: Context, request: Request) -> Response:
    return RedirectResponse(f"{request.url.path}/report.html")


def report_file(context: Context, request: Request) -> Response:
    """A file of a version's gate report. Raises NotFound."""
    model, version = _version(request)
    with context.read() as connection:
        found = releases.get_release(connection, model, version)
    if found.report is None:
        raise NotFound(f"{model} version {version} has no report: it was registered without gates.")
    name = request.path_params["name"]
    # The name is looked up among the report's own files, so no path of the machine is ever made of it.
    digest = next((entry.digest for entry in context.store.read_tree(found.report) if entry.path == name), None)
    if digest is None:
        raise NotFound(f"the report of {model} version {version} has no file {name!r}.")
    kind = mimetypes.guess_type(PurePosixPath(name).name)[0] or "application/octet-stream"
    return Response(context.store.get_bytes(digest), media_type=kind)


def _model_cards(connection: Connection, names: Sequence[str]) -> tuple[ModelCard, ...]:
    """In their order. Asks as often for many as for one."""
    shown = summarize(connection, versions.newest_of_each(connection, names, limit=_VERSIONS))
    released = releases.releases_of_versions(connection, [(item.model, item.version) for item in shown])
    versions_of: dict[str, list[VersionSummary]] = {name: [] for name in names}
    releases_of: dict[str, dict[int, Release]] = {name: {} for name in names}
    for item in shown:
        versions_of[item.model].append(item)
    for (name, version), made in released.items():
        releases_of[name][version] = made
    return tuple(ModelCard(name=name, versions=tuple(versions_of[name]), releases=releases_of[name]) for name in names)


def _profile(context: Context, digest: str | None) -> Profile | None:
    return None if digest is None else decode_profile(context.store.get_bytes(digest))


def _version(request: Request) -> tuple[str, int]:
    version = int(request.path_params["version"])
    if version > 2**31:
        raise InvalidInput(f"there is no version {version}.")
    return request.path_params["model"], version
