"""Listings, deletion and the way past the server for large files; their bytes go through `server/proxy.py`."""

from collections.abc import Iterable
from operator import attrgetter
from pathlib import PurePosixPath
from posixpath import basename

from lockgate.errors import InvalidInput, NotFound, NotImplementedHere
from lockgate.server import files
from lockgate.server.artifacts.paths import require_name, require_safe
from lockgate.server.artifacts.store import ArtifactFile, DirectAccess, Part
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import contributor, viewer
from lockgate.server.subjects import (
    of_artifact,
    of_deleted_artifact,
    of_direct_upload,
    of_listing,
    of_logged_model,
    of_run,
)
from lockgate.wire.mlflow import artifacts as wire
from lockgate.wire.operation import Empty

_PAGE = 10_000  # entries of one page of a listing
_DOWNLOAD_URL_S = 300
# A part's URL is made when the upload begins, and the last part of a large model may be sent hours later.
_PART_URL_S = 12 * 3600
_LONGEST_URL_S = 7 * 24 * 3600  # S3's limit


def list_artifacts(ctx: Context, request: wire.ListArtifacts) -> wire.RunArtifacts:
    """Paths are relative to the run."""
    return _list_below(ctx, files.run_location(ctx, request.id), request.path, request.page_token)


def list_model_artifacts(ctx: Context, request: wire.ListModelArtifacts) -> wire.RunArtifacts:
    """Paths are relative to the logged model."""
    location = files.model_location(ctx, request.model_id)
    return _list_below(ctx, location, request.artifact_directory_path, request.page_token)


def list_proxy(ctx: Context, request: wire.ListProxy) -> wire.ProxyFiles:
    """Paths are bare names."""
    folder = require_safe(request.folder)
    if not request.max_results:
        found = sorted(files.list_files(ctx, request.folder), key=attrgetter("path"))  # a size may be None
        return wire.ProxyFiles(files=_infos(found, folder))
    if request.max_results < 0:
        raise InvalidInput(f"max_results is {request.max_results}, expected at least 1.")
    page = files.list_page(ctx, request.folder, limit=min(request.max_results, _PAGE), token=request.page_token)
    return wire.ProxyFiles(files=_infos(page.files, folder), next_page_token=page.next_token)


def delete_proxy(ctx: Context, request: wire.OneArtifact) -> Empty:
    files.require_writable(request.artifact_path)
    _tell(ctx)
    files.delete_files(ctx, request.artifact_path)
    return Empty()


def get_download_url(ctx: Context, request: wire.OneArtifact) -> wire.DownloadUrl:
    """For released content, which lies in the content store, an answer that sends MLflow's client to the proxy."""
    path = request.artifact_path
    if ctx.artifacts.direct is None:
        raise NotImplementedHere(wire.NO_PRESIGNED_DOWNLOAD)
    direct = files.direct_access(ctx, path)
    if direct is None:
        return wire.DownloadUrl(url=f"{wire.PROXY_PATH}/{path}", headers={})
    url, size = direct.download_url(path, expires_s=_DOWNLOAD_URL_S)
    return wire.DownloadUrl(url=url, headers={}, file_size=size)


def presign_download(ctx: Context, request: wire.PresignDownload) -> wire.PresignedUrl:
    direct, path = _direct(ctx, files.run_location(ctx, request.id), request.path, "download")
    url, size = direct.download_url(path, expires_s=_lifetime(request.expiration))
    return wire.PresignedUrl(presigned_url=url, file_size=size)


def presign_upload(ctx: Context, request: wire.PresignUpload) -> wire.PresignedUrl:
    if bool(request.run_id) == bool(request.model_id):
        raise InvalidInput("Exactly one of run_id and model_id must be provided.")
    if request.run_id:
        location = files.run_location(ctx, request.run_id)
    else:
        location = files.model_location(ctx, request.model_id)
    direct, path = _direct(ctx, location, request.path, "upload")
    require_name(basename(request.path), is_below=True)
    files.require_writable(path)
    _tell(ctx)
    return wire.PresignedUrl(presigned_url=direct.upload_url(path, expires_s=_lifetime(request.expiration)))


def create_parts(ctx: Context, request: wire.CreateParts) -> wire.CreatedParts:
    """Raises NotImplementedHere where files must go through the server."""
    direct, path = _direct_parts(ctx, request)
    files.require_owner(ctx, path)
    begun = direct.begin_parts(path, request.num_parts, expires_s=_PART_URL_S)
    return wire.CreatedParts(
        upload_id=begun.upload_id,
        credentials=tuple(
            wire.PartCredential(url=url, part_number=number, headers={}) for number, url in enumerate(begun.urls, 1)
        ),
    )


def complete_parts(ctx: Context, request: wire.CompleteParts) -> Empty:
    direct, path = _direct_parts(ctx, request)
    try:
        owner = files.require_owner(ctx, path)
    except NotFound:
        direct.abort_parts(path, request.upload_id)
        raise
    direct.complete_parts(path, request.upload_id, [Part(part.part_number, part.etag) for part in request.parts])
    files.require_owner_still(ctx, path, owner)
    return Empty()


def abort_parts(ctx: Context, request: wire.AbortParts) -> Empty:
    direct, path = _direct_parts(ctx, request)
    direct.abort_parts(path, request.upload_id)
    return Empty()


def _tell(ctx: Context) -> None:
    """The line in the audit comes first: nothing may appear or vanish without one."""
    with ctx.write():
        pass


def _list_below(ctx: Context, location: files.Location, path: str, token: str) -> wire.RunArtifacts:
    require_safe(path, is_below=True)
    page = files.list_page(ctx, location.path_of(path), limit=_PAGE, token=token)
    return wire.RunArtifacts(
        root_uri=location.uri,
        files=_infos(page.files, require_safe(location.folder)),
        next_page_token=page.next_token,
    )


def _infos(found: Iterable[ArtifactFile], folder: PurePosixPath) -> tuple[wire.FileInfo, ...]:
    """As seen from `folder`."""
    prefix = f"{folder}/" if folder.parts else ""
    return tuple(
        wire.FileInfo(path=item.path.removeprefix(prefix), is_dir=item.size_bytes is None, file_size=item.size_bytes)
        for item in found
    )


def _direct(ctx: Context, location: files.Location, path: str, way: str) -> tuple[DirectAccess, str]:
    """Raises InvalidInput, as MLflow does, where all files go through the server."""
    require_safe(path, is_below=True)
    target = location.path_of(path)
    direct = files.direct_access(ctx, target)
    if direct is None:
        raise InvalidInput(
            f"Presigned {way} is not supported for proxied artifact storage (artifact URI scheme: mlflow-artifacts).",
            hint="set the server's setting artifacts to s3://BUCKET/PREFIX to have files go past the server",
        )
    return direct, target


def _direct_parts(
    ctx: Context, request: wire.CreateParts | wire.CompleteParts | wire.AbortParts
) -> tuple[DirectAccess, str]:
    """And where the client's local file goes. Raises NotImplementedHere, PermissionDenied for released content."""
    if ctx.artifacts.direct is None:
        raise NotImplementedHere(wire.NO_PARTS)
    path = f"{request.artifact_path.rstrip('/')}/{require_name(basename(request.path), is_below=True)}"
    files.require_writable(path)
    _tell(ctx)
    return ctx.artifacts.direct, path


def _lifetime(expires_s: int) -> int:
    if not 1 <= expires_s <= _LONGEST_URL_S:
        raise InvalidInput(f"expiration must be between 1 and {_LONGEST_URL_S} seconds (got {expires_s}).")
    return expires_s


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.LIST_ARTIFACTS, list_artifacts, viewer(of_run)),
    Route(wire.LIST_MODEL_ARTIFACTS, list_model_artifacts, viewer(of_logged_model)),
    Route(wire.LIST_PROXY, list_proxy, viewer(of_listing)),
    Route(wire.DELETE_PROXY, delete_proxy, contributor(of_deleted_artifact)),
    Route(wire.GET_DOWNLOAD_URL, get_download_url, viewer(of_artifact)),
    Route(wire.PRESIGN_DOWNLOAD, presign_download, viewer(of_run)),
    Route(wire.PRESIGN_UPLOAD, presign_upload, contributor(of_direct_upload)),
    Route(wire.CREATE_PARTS, create_parts, contributor(of_artifact)),
    Route(wire.COMPLETE_PARTS, complete_parts, contributor(of_artifact)),
    Route(wire.ABORT_PARTS, abort_parts, contributor(of_artifact)),
)
