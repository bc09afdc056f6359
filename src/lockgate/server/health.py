"""What operators and MLflow's clients ask of the server itself."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as HttpRoute

from lockgate import __version__
from lockgate.server.context import Context
from lockgate.server.meter import CONTENT_TYPE, Meter


def server_features(context: Context) -> dict[str, object]:
    """What MLflow 3 clients ask before they use what an older server does not have."""
    is_direct = context.artifacts.direct is not None
    return {
        "store_type": "SqlStore",
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": is_direct,
        "multipart_downloads_enabled": is_direct,
        "presigned_upload_run_id_supported": is_direct,
        "presigned_upload_model_id_supported": is_direct,
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
        return JSONResponse(server_features(context))

    return [
        HttpRoute("/health", health),
        HttpRoute("/version", version),
        HttpRoute("/metrics", metrics),
        HttpRoute("/api/3.0/mlflow/server-info", server_info),
        HttpRoute("/ajax-api/3.0/mlflow/server-info", server_info),
    ]
