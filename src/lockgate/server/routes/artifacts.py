"""Listings of files; their bytes go through the ASGI shell."""

from lockgate.errors import InvalidInput
from lockgate.metadata import runs
from lockgate.server import files
from lockgate.server.artifacts import require_safe
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.wire.mlflow import artifacts as wire


def list_artifacts(ctx: Context, request: wire.ListArtifacts) -> wire.RunArtifacts:
    """Paths are relative to the run."""
    require_safe(request.path)
    with ctx.read() as connection:
        uri: str = runs.get_run(connection, request.id)["artifact_uri"]
    if not uri.startswith(wire.PROXY_SCHEME):
        raise InvalidInput(f"the files of run {request.id} are kept at {uri}, which this server cannot list.")
    root = uri.removeprefix(wire.PROXY_SCHEME).strip("/")
    found = files.list_files(ctx, f"{root}/{request.path}" if request.path else root)
    listed = tuple(
        wire.FileInfo(
            path=item.path.removeprefix(f"{root}/"), is_dir=item.size_bytes is None, file_size=item.size_bytes
        )
        for item in found
    )
    return wire.RunArtifacts(root_uri=uri, files=listed)


def list_proxy(ctx: Context, request: wire.ListProxy) -> wire.ProxyFiles:
    """Paths are bare names."""
    return wire.ProxyFiles(
        files=tuple(
            wire.FileInfo(path=item.path.rpartition("/")[2], is_dir=item.size_bytes is None, file_size=item.size_bytes)
            for item in files.list_files(ctx, request.path.strip("/"))
        )
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.LIST_ARTIFACTS, list_artifacts),
    Route(wire.LIST_PROXY, list_proxy),
)
