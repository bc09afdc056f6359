"""The setting `artifacts` -> the store it names."""

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lockgate.config import masked
from lockgate.errors import InvalidInput
from lockgate.server.artifacts.folder import ArtifactFolder
from lockgate.server.artifacts.store import ArtifactStore

DEFAULT_FOLDER = "artifacts"  # in the state of a project, where the setting is empty


def open_artifacts(url: str, *, default: Path) -> ArtifactStore:
    """The store at `url`: a path or `file://` URL, `s3://BUCKET/PREFIX`, or any other URL that fsspec knows.

    Nothing is asked of the place yet: one that cannot be reached is found out at the first call. Raises InvalidInput,
    and Unavailable where fsspec asks after all.
    """
    if not url:
        return ArtifactFolder(default)
    parts = urlsplit(url)
    head, is_url, _ = url.partition("://")
    if not parts.scheme and (not is_url or "/" in head):  # `arrow_hdfs` is a scheme to fsspec and none to urlsplit
        return ArtifactFolder(Path(url).expanduser())
    if not is_url and "::" not in url and parts.scheme != "file":  # fsspec would make a folder of that name
        raise InvalidInput(
            f"the setting artifacts is {masked(url)!r}, which is neither an address nor a path.",
            hint=f"write {parts.scheme}://..., or ./{url} for a folder of that name",
        )
    if parts.query or parts.fragment:
        raise InvalidInput(
            f"the setting artifacts is {masked(url)!r}: an address without `?` and `#` was expected.",
            hint="endpoint and keys come from the environment, as AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...",
        )
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise InvalidInput(f"the setting artifacts is {url!r}; write file:///absolute/path.")
        return ArtifactFolder(Path(unquote(parts.path)))
    if parts.scheme in ("s3", "s3a"):
        from lockgate.server.artifacts.s3 import S3Artifacts

        if not parts.netloc:
            raise InvalidInput(f"the setting artifacts is {url!r}; write s3://BUCKET/PREFIX.")
        if find_spec("s3fs") is None:
            raise InvalidInput(
                f"the setting artifacts is {url!r}, which needs the package s3fs.", hint="pip install 'lockgate[s3]'"
            )
        return S3Artifacts(parts.netloc, parts.path.strip("/"))
    from lockgate.server.artifacts.filesystem import open_filesystem

    return open_filesystem(url)
