"""What the artifact proxy shows: files of runs, and, read-only under `content/<digest>/`, what was released."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lockgate.errors import InvalidInput, LockgateError, NotFound, PermissionDenied
from lockgate.hashing import is_digest
from lockgate.ids import RUN_ID
from lockgate.metadata import logged_models, runs
from lockgate.metadata.database import repeat_when_raced
from lockgate.metadata.releases import is_released
from lockgate.server.act import Act
from lockgate.server.artifacts.folder import ArtifactFolder
from lockgate.server.artifacts.paths import require_safe
from lockgate.server.artifacts.store import ArtifactFile, ArtifactInfo, ArtifactPage, DirectAccess, OpenArtifact
from lockgate.server.artifacts.upload import CheckedUpload, Checksum
from lockgate.server.context import Context
from lockgate.server.needs import contributor
from lockgate.server.subjects import of_artifact
from lockgate.wire.mlflow.artifacts import CONTENT_FOLDER, OneArtifact, proxied_path

UPLOAD = "artifacts.upload"

_MODEL_ID = re.compile(f"m-{RUN_ID.pattern}")
_PIECE = 1 << 20
_WHOLE_BY = 100_000  # entries that one step of a listing without pages holds; a folder is read once a step


class Location(NamedTuple):
    """Where the files of a run or a logged model are: `uri` as clients know it, `folder` below the artifact root."""

    uri: str
    folder: str

    def path_of(self, path: str) -> str:
        """Below the artifact root, of a path below this location."""
        return f"{self.folder}/{path}" if path else self.folder


def run_location(ctx: Context, run_id: str) -> Location:
    """Raises NotFound, and InvalidInput for a run whose files this server does not keep."""
    with ctx.read() as connection:
        return _location(runs.get_run(connection, run_id)["artifact_uri"], f"run {run_id}")


def model_location(ctx: Context, model_id: str) -> Location:
    """The same for a logged model."""
    with ctx.read() as connection:
        uri = logged_models.get_logged_model(connection, model_id)["artifact_uri"]
    return _location(uri, f"logged model {model_id}")


def open_file(ctx: Context, path: str) -> OpenArtifact:
    """Raises NotFound; InvalidInput for a path with tricks."""
    content = _released(ctx, path)
    if content is None:
        return ctx.artifacts.open(path)
    digest, inner = content
    for entry in ctx.store.read_tree(digest):
        if entry.path == inner:
            info = ArtifactInfo(entry.size_bytes, entry.digest, entry.digest)
            return OpenArtifact(info, ctx.store.open(entry.digest))
    raise NotFound(f"there is no file {inner!r} in the released content {digest}.")


def list_page(ctx: Context, path: str, *, limit: int, token: str = "") -> ArtifactPage:
    """Up to `limit` entries of one folder, each path relative to the artifact root; none for what is no folder."""
    content = _released(ctx, path)
    if content is None:
        return ctx.artifacts.list(path, limit=limit, token=token)
    return ArtifactPage(_list_released(ctx, path, *content), "")


def list_files(ctx: Context, path: str) -> Iterator[ArtifactFile]:
    """All of them."""
    token = ""
    while True:
        page = list_page(ctx, path, limit=_WHOLE_BY, token=token)
        yield from page.files
        token = page.next_token
        if not token:
            return


def begin_upload(
    ctx: Context,
    path: str,
    *,
    size_bytes: int | None = None,
    checksums: Sequence[Checksum] = (),
    limit_bytes: int | None = None,
) -> CheckedUpload:
    """Raises PermissionDenied for released content, InvalidInput for a path that cannot be written, and NotFound for
    one of a run or a logged model that is not there.
    """
    require_writable(path)
    require_owner(ctx, path)
    return CheckedUpload(
        ctx.artifacts,
        path,
        size_bytes=size_bytes,
        checksums=checksums,
        limit_bytes=limit_bytes,
        around=partial(_told, ctx, upload_act(path), path),
    )


def upload_act(path: str) -> Act:
    """An upload as the audit sees it."""
    return Act(UPLOAD, contributor(of_artifact), OneArtifact(artifact_path=path))


def delete_files(ctx: Context, path: str) -> None:
    """Delete a file or a folder; nothing happens where there is none. Raises PermissionDenied for released content."""
    require_writable(path)
    ctx.artifacts.delete(path)


def direct_access(ctx: Context, path: str) -> DirectAccess | None:
    """The way around this server for `path`; None for released content and where the store has none."""
    return None if _released(ctx, path) else ctx.artifacts.direct


def require_writable(path: str) -> None:
    """Raises PermissionDenied for released content: it never changes."""
    if require_safe(path).parts[:1] == (CONTENT_FOLDER,):
        raise PermissionDenied(f"{path!r} is released content, which never changes.")


def require_owner(ctx: Context, path: str) -> None:
    """Raises NotFound where the run or the logged model whose folder `path` lies in was deleted for good, or never was.

    Nothing would ever delete what is put there.
    """
    first, second, third, *_ = *require_safe(path).parts, "", "", ""
    if not first.isdigit():
        return
    if RUN_ID.fullmatch(second):
        with ctx.read() as connection:
            if not runs.is_known(connection, second):
                raise NotFound(f"{path!r} is a file of the run {second}, which is not there.")
    elif second == "models" and _MODEL_ID.fullmatch(third):
        with ctx.read() as connection:
            logged_models.get_logged_model(connection, third, allow_deleted=True)


def require_owner_still(ctx: Context, path: str) -> None:
    """The same of a file that has just become visible; it is deleted first, with the folders that were made for it.

    A purge deletes rows, then folders: it has either seen the file, or is seen here.
    """
    try:
        require_owner(ctx, path)
    except NotFound:
        ctx.artifacts.delete(path)
        if isinstance(ctx.artifacts, ArtifactFolder):
            parts = require_safe(path).parts
            ctx.artifacts.delete_empty(path, inside="/".join(parts[: 3 if parts[1] == "models" else 2]))
        raise


def store_file(ctx: Context, path: str, local: Path) -> None:
    """Copy what a local file holds now to `path`; what the in-process client does instead of an upload."""
    with local.open("rb") as source:
        left = os.fstat(source.fileno()).st_size  # a log may grow meanwhile
        upload = begin_upload(ctx, path, size_bytes=left)
        try:
            while piece := source.read(min(left, _PIECE)):
                upload.write(piece)
                left -= len(piece)
            upload.commit()
        except BaseException:
            upload.abort()
            raise


@contextmanager
def _told(ctx: Context, act: Act, path: str) -> Iterator[None]:
    """The line in the audit comes first: nothing may be there without one. A second says that it failed."""
    repeat_when_raced(lambda: ctx.tell(act))
    try:
        yield
        require_owner_still(ctx, path)
    except Exception as error:
        outcome = error.code if isinstance(error, LockgateError) else LockgateError.code
        with suppress(LockgateError):  # of the disk or the database, which is in trouble already
            repeat_when_raced(lambda: ctx.tell(act, outcome=outcome))
        raise


def _location(uri: str, owner: str) -> Location:
    path = proxied_path(uri)
    if path is None:
        raise InvalidInput(f"the files of {owner} are kept at {uri}, which this server cannot list.")
    return Location(uri, path)


def _list_released(ctx: Context, path: str, digest: str, inner: str) -> tuple[ArtifactFile, ...]:
    prefix = f"{inner}/" if inner else ""
    folder = require_safe(path)
    found: dict[str, ArtifactFile] = {}
    for entry in ctx.store.read_tree(digest):
        if not entry.path.startswith(prefix):
            continue
        name, slash, _ = entry.path.removeprefix(prefix).partition("/")
        found[name] = ArtifactFile(str(folder / name), None if slash else entry.size_bytes)
    return tuple(found[name] for name in sorted(found))


def _released(ctx: Context, path: str) -> tuple[str, str] | None:
    """(digest, path inside) for a path below `content/`; only what some release holds can be seen."""
    parts = require_safe(path).parts
    if parts[:1] != (CONTENT_FOLDER,):
        return None
    if len(parts) < 2 or not is_digest(parts[1]):
        raise InvalidInput(f"{path!r} names no released content.")
    with ctx.read() as connection:
        if not is_released(connection, parts[1]):
            raise NotFound(f"no release has the content {parts[1]}.")
    return parts[1], "/".join(parts[2:])
