"""Files that are asked for by run, logged model or model version: found here, served by the artifact proxy.

GET  /get-artifact?run_id=...&path=plots/roc.png
GET  /ajax-api/2.0/mlflow/logged-models/<model_id>/artifacts/files?artifact_file_path=MLmodel
GET  /model-versions/get-artifact?name=churn&version=3&path=MLmodel
POST /ajax-api/2.0/mlflow/upload-artifact?run_uuid=...&path=notes.md
"""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lockgate.errors import InvalidInput
from lockgate.server import files
from lockgate.server.admitted import admitted, require_for
from lockgate.server.artifacts.paths import require_name
from lockgate.server.context import Context
from lockgate.server.needs import contributor, viewer
from lockgate.server.subjects import of_logged_model, of_run
from lockgate.server.version_files import version_file
from lockgate.server.workers import Workers
from lockgate.wire.mlflow.logged_models import OneLoggedModel
from lockgate.wire.mlflow.runs import OfRun
from lockgate.wire.operation import MLFLOW_UI_PREFIX

# From the parameters of query and path to a path below the artifact root. Raises NotFound, InvalidInput, and
# PermissionDenied for who may not hear where the files are.
Locate = Callable[[Context, Mapping[str, str]], str]


def located_routes(proxy: ASGIApp, workers: Workers) -> list[BaseRoute]:
    """`proxy` serves, and asks for the rights to, the path that each of these finds."""
    model_files = f"{MLFLOW_UI_PREFIX}/logged-models/{{model_id}}/artifacts/files"
    return [
        Route("/get-artifact", LocatedFiles(proxy, workers, run_file), methods=["GET"]),
        Route(model_files, LocatedFiles(proxy, workers, model_file), methods=["GET"]),
        Route("/model-versions/get-artifact", LocatedFiles(proxy, workers, version_file), methods=["GET"]),
        Route(f"{MLFLOW_UI_PREFIX}/upload-artifact", LocatedFiles(proxy, workers, uploaded_file), methods=["POST"]),
    ]


class LocatedFiles:
    """Finds out where the file is and leaves the rest, rights included, to `proxy`, which serves by path."""

    def __init__(self, proxy: ASGIApp, workers: Workers, locate: Locate) -> None:
        self._proxy = proxy
        self._workers = workers
        self._locate = locate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = {**{name: values[0] for name, values in query.items()}, **scope["path_params"]}
        path = await self._workers.call(self._locate, admitted(scope), given)
        await self._proxy({**scope, "path_params": {"path": path}}, receive, send)


def run_file(ctx: Context, given: Mapping[str, str]) -> str:
    """Where to ask for a file of a run. Raises PermissionDenied before anything is said of where that is."""
    path = _required(given, "path")
    require_name(path, is_below=True)
    asked = OfRun(run_id=given.get("run_id") or _required(given, "run_uuid"))
    require_for(viewer(of_run), ctx, asked)
    return files.run_location(ctx, asked.id).path_of(path)


def uploaded_file(ctx: Context, given: Mapping[str, str]) -> str:
    """MLflow's pages name the run by `run_uuid` alone."""
    asked, path = OfRun(run_id=_required(given, "run_uuid")), _required(given, "path")
    require_name(path, is_below=True)
    try:
        return files.run_location(ctx, asked.id).path_of(path)
    except InvalidInput:  # which says where the files are; else the proxy asks for the right, and audits a refusal
        require_for(contributor(of_run), ctx, asked)
        raise


def model_file(ctx: Context, given: Mapping[str, str]) -> str:
    path = _required(given, "artifact_file_path")
    require_name(path, is_below=True)
    require_for(viewer(of_logged_model), ctx, OneLoggedModel(model_id=given["model_id"]))
    return files.model_location(ctx, given["model_id"]).path_of(path)


def _required(given: Mapping[str, str], name: str) -> str:
    """In MLflow's words."""
    if not given.get(name):
        raise InvalidInput(f"Request must specify {name}.")
    return given[name]
