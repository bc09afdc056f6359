"""Where the files of an experiment are: a URI or a path of this machine, below which each run has its folder."""

from pathlib import Path
from urllib.parse import urlsplit

from lockgate.errors import InvalidInput
from lockgate.metadata.limits import ARTIFACT_LOCATION_LENGTH, require_text


def require_location(location: str) -> None:
    """Raises InvalidInput for what no folder of a run can be below."""
    require_text(location, ARTIFACT_LOCATION_LENGTH, "artifact_location")
    scheme = _scheme(location)
    if scheme == "runs":
        raise InvalidInput(f"Artifact location cannot be a runs:/ URI. Given: {location!r}.")
    if "#" in location:
        raise InvalidInput("'artifact_location' URL can't include fragments or params.")
    if scheme == "mlflow-artifacts" and "?" in location:
        raise InvalidInput("'artifact_location' of files that go through the server can't include a query.")
    if ".." in location.split("/"):
        raise InvalidInput(f"'artifact_location' must not leave its folder: {location!r}.")


def absolute(location: str, folder: Path) -> str:
    """A path that is relative is one below `folder`, and not below wherever somebody reads it.

    >>> absolute("models", Path("/srv")), absolute("file:models", Path("/srv")), absolute("s3://b/models", Path("/srv"))
    ('/srv/models', 'file:///srv/models', 's3://b/models')
    """
    scheme = _scheme(location)
    path = location.removeprefix("file:")
    if scheme not in ("", "file") or not path or path.startswith("/"):
        return location
    return f"file://{folder / path}" if scheme else str(folder / path)


def below(location: str, path: str) -> str:
    """The folder `path` in it; what a URI asks for comes behind the path.

    >>> below("s3://bucket/models?region=eu", "1/artifacts")
    's3://bucket/models/1/artifacts?region=eu'
    """
    folder, mark, query = location.partition("?") if _scheme(location) else (location, "", "")
    return f"{folder.rstrip('/')}/{path}{mark}{query}"


def _scheme(location: str) -> str:
    try:
        return urlsplit(location).scheme
    except ValueError as error:
        raise InvalidInput(f"'artifact_location' is not a URI ({error}): {location!r}.") from error
