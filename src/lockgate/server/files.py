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
from lockgate.metadata.chosen import Steps, steps_of
from lockgate.metadata.database import repeat_when_raced
from lockgate.metadata.releases import is_released
from lockgate.server.act import Act
from lockgate.server.artifacts.folder import ArtifactFolder
from lockgate.server.artifacts.paths import require_safe
from lockgate.server.artifacts.store import (
    ArtifactFile,
    ArtifactInfo,
    ArtifactPage,
    DirectAccess,
    IsFolder,
    OpenArtifact,
)
from lockgate.server.artifacts.upload import CheckedUpload, Checksum
from lockgate.server.context import Context
from lockgate.server.needs import contributor
from lockgate.server.subjects import of_artifact
from lockgate.server.whose import MODELS, depth_of_folder
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
    """Raises NotFound, IsFolder; InvalidInput for a path with tricks."""
    content = _released(ctx, path)
    if content is None:
        return ctx.artifacts.open(path)
    digest, inner = content
    for entry in ctx.store.read_tree(digest):
        if entry.path == inner:
            info = ArtifactInfo(entry.size_bytes, entry.digest, entry.digest)
            return OpenArtifact(info, ctx.store.open(entry.digest))
        if not inner or entry.path.startswith(f"{inner}/"):
            raise IsFolder(path)
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
    owner = require_owner(ctx, path)
    return CheckedUpload(
        ctx.artifacts,
        path,
        size_bytes=size_bytes,
        checksums=checksums,
        limit_bytes=limit_bytes,
        around=partial(_told, ctx, upload_act(path), path, owner),
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


class Owner(NamedTuple):
    """The run or the logged model whose folder a file lies in; `folder` is below the artifact root."""

    kind: str
    id: str
    folder: str


def require_owner(ctx: Context, path: str) -> Owner | None:
    """None for a file of no run and no logged model. Raises NotFound for one of those that was deleted for good, or
    never was: nothing would ever delete what is put there.
    """
    steps = require_safe(path).parts
    possible = list(_possible_owners(steps))
    if not possible:
        return None
    found: Owner | None = None
    with ctx.read() as connection:
        for kind, identity, depth, above in possible:
            uri = (runs if kind == "run" else logged_models).find_uri(connection, identity)
            if uri is not None:
                folder = steps[:depth]
                if steps_of(proxied_path(uri) or "")[:-1] == folder:  # without `artifacts`
                    found = Owner(kind, identity, "/".join(folder))
            elif depth_of_folder(connection, steps) == above:
                raise _gone(path, kind, identity)
    return found


def require_owner_still(ctx: Context, path: str, owner: Owner | None) -> None:
    """The same of a file that has just become visible; it is deleted first, with the folders that were made for it.

    A purge deletes rows, then folders: it has either seen the file, or is seen here.
    """
    try:
        if require_owner(ctx, path) is None and owner is not None:  # nor is there the experiment whose folder it was
            raise _gone(path, owner.kind, owner.id)
    except NotFound:
        ctx.artifacts.delete(path)
        if owner is not None and isinstance(ctx.artifacts, ArtifactFolder):
            ctx.artifacts.delete_empty(path, inside=owner.folder)
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
def _told(ctx: Context, act: Act, path: str, owner: Owner | None) -> Iterator[None]:
    """The line in the audit comes first: nothing may be there without one. A second says that it failed."""
    repeat_when_raced(lambda: ctx.tell(act))
    try:
        yield
        require_owner_still(ctx, path, owner)
    except Exception as error:
        outcome = error.code if isinstance(error, LockgateError) else LockgateError.code
        with suppress(LockgateError):  # of the disk or the database, which is in trouble already
            repeat_when_raced(lambda: ctx.tell(act, outcome=outcome))
        raise


def _possible_owners(steps: Steps) -> Iterator[tuple[str, str, int, int]]:
    """What the steps may be folders of, by their names alone: (kind, id, how many of them are its folder, and how many
    its experiment's).
    """
    for depth, step in enumerate(steps, 1):
        if RUN_ID.fullmatch(step):
            yield "run", step, depth, depth - 1
        elif _MODEL_ID.fullmatch(step) and steps[depth - 2 : depth - 1] == (MODELS,):
            yield "logged model", step, depth, depth - 2


def _gone(path: str, kind: str, identity: str) -> NotFound:
    return NotFound(f"{path!r} is a file of the {kind} {identity}, which is not there.")


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
