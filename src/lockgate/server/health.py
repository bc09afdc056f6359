"""What operators and MLflow's clients ask of the server itself."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as HttpRoute

from lockgate import __version__
from lockgate.server.context import Context
from lockgate.server.meter import CONTENT_TYPE, Meter

# What MLflow 3 clients ask before they use what an older server does not have. We have none of these.
SERVER_INFO = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
    "presigned_upload_run_id_supported": False,
    "presigned_upload_model_id_supported": False,
    "features_enabled": {"gateway": False},
}


def health_routes(context: Context, meter: Meter) -> list[BaseRoute]:
    """Is it alive, which version is it, and its Prometheus metrics."""

    async def health(request: Request) -> Response:
        return PlainTextResponse("OK")

    async def version(request: Request) -> Response:
        return PlainTextResponse(__version__)

    async def metrics(request: Request) -> Response:
        return Response(meter.exposition(), media_type=CONTENT_TYPE)

    async def server_info(request: Request) -> Response:
        return JSONResponse(SERVER_INFO)

    return [
        HttpRoute("/health", health),
        HttpRoute("/version", version),
        HttpRoute("/metrics", metrics),
        HttpRoute("/api/3.0/mlflow/server-info", server_info),
        HttpRoute("/ajax-api/3.0/mlflow/server-info", server_info),
    ]
