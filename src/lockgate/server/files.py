"""What the artifact proxy shows: files of runs, and, read-only under `content/<digest>/`, what was released."""

from pathlib import Path
from typing import BinaryIO

from lockgate.errors import InvalidInput, NotFound, PermissionDenied
from lockgate.hashing import is_digest
from lockgate.metadata.releases import is_released
from lockgate.server.artifacts import ArtifactFile, require_safe
from lockgate.server.context import Context
from lockgate.server.routes.registry import CONTENT_FOLDER


def open_file(ctx: Context, path: str) -> BinaryIO:
    """Raises NotFound; InvalidInput for a path with tricks."""
    content = _released(ctx, path)
    if content is None:
        return ctx.artifacts.open(path)
    digest, inner = content
    for entry in ctx.store.read_tree(digest):
        if entry.path == inner:
            return ctx.store.open(entry.digest)
    raise NotFound(f"there is no file {inner!r} in the released content {digest}.")


def list_files(ctx: Context, path: str) -> list[ArtifactFile]:
    """The entries of one folder by name, each path relative to the artifact root; empty for what is no folder."""
    content = _released(ctx, path)
    if content is None:
        return ctx.artifacts.list(path)
    digest, inner = content
    prefix = f"{inner}/" if inner else ""
    found: dict[str, ArtifactFile] = {}
    for entry in ctx.store.read_tree(digest):
        if not entry.path.startswith(prefix):
            continue
        name, slash, _ = entry.path.removeprefix(prefix).partition("/")
        found[name] = ArtifactFile(f"{path.rstrip('/')}/{name}", None if slash else entry.size_bytes)
    return [found[name] for name in sorted(found)]


def require_writable(path: str) -> None:
    """Raises PermissionDenied for released content: it never changes."""
    if require_safe(path).parts[:1] == (CONTENT_FOLDER,):
        raise PermissionDenied(f"{path!r} is released content, which never changes.")


def store_file(ctx: Context, path: str, local: Path) -> None:
    """Copy a local file to `path`; what the in-process client does instead of an upload."""
    require_writable(path)
    with local.open("rb") as source, ctx.artifacts.replacing(path) as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)


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
