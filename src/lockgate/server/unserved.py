"""What MLflow's server has and this one does not: its GenAI half, its own pages' helpers and its workspaces.

A client that asks for it gets 501 and a reason. 404 would tell it that the server is older than itself, and 500 that
something is broken.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lockgate.errors import NotImplementedHere
from lockgate.server.answer import error_body

_ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_API_2 = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
_API_3 = ("/api/3.0/mlflow", "/ajax-api/3.0/mlflow")

# What a path and all below it is about.
_FAMILIES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (_API_2, "traces", "traces"),
    (_API_2, "unified-traces", "traces"),
    (_API_2, "get-online-trace-details", "traces"),
    (_API_2, "get-trace-artifact", "traces"),
    (_API_2, "gateway-proxy", "the AI gateway"),
    (_API_2, "runs/create-promptlab-run", "the prompt lab"),
    (_API_3, "traces", "traces and their assessments"),
    (_API_3, "get-trace-artifact", "traces"),
    (_API_3, "scorers", "scorers of GenAI evaluation"),
    (_API_3, "scorer", "scorers of GenAI evaluation"),
    (_API_3, "datasets", "evaluation datasets of GenAI"),
    (_API_3, "genai", "GenAI evaluation"),
    (_API_3, "prompt-optimization", "prompt optimization"),
    (_API_3, "gateway", "the AI gateway"),
    (_API_3, "issues", "issues found in traces"),
    (_API_3, "label-schemas", "label schemas"),
    (_API_3, "review-queues", "review queues"),
    (_API_3, "mcp-servers", "the registry of MCP servers"),
    (_API_3, "assistant", "the assistant"),
    (_API_3, "workspaces", "workspaces"),
    (_API_3, "jobs", "jobs of MLflow's server"),
    (("/ajax-api/3.0",), "jobs", "jobs of MLflow's server"),
    (_API_3, "demo", "MLflow's demo data"),
    (_API_3, "ui-telemetry", "MLflow's telemetry"),
    (("",), "v1/traces", "traces"),
    (("",), "gateway", "the AI gateway"),
)


def unserved_routes() -> list[BaseRoute]:
    """The path of each family and everything below it, whatever the method."""
    return [
        Route(f"{prefix}/{name}{below}", _endpoint(subject), methods=_ALL_METHODS)
        for prefixes, name, subject in _FAMILIES
        for prefix in prefixes
        for below in ("", "/{rest:path}")
    ]


def _endpoint(subject: str) -> Callable[[Request], Awaitable[Response]]:
    refusal = NotImplementedHere(
        f"Lockgate has no part of MLflow's server for {subject}.",
        hint="run an MLflow server beside it for that, and point MLFLOW_TRACKING_URI at it there",
    )
    body = error_body(refusal.code, refusal.message, refusal.hint)

    async def answer(request: Request) -> Response:
        return Response(body, status_code=refusal.http_status, media_type="application/json")

    return answer
