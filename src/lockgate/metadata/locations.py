"""Where an experiment's files are: a URI or a path of a machine, below which runs and models have their folders."""

from pathlib import Path
from urllib.parse import urlsplit

from lockgate.errors import InvalidInput
from lockgate.metadata.limits import ARTIFACT_LOCATION_LENGTH, require_text

_PLACES = ("", "file", "mlflow-artifacts")


def require_location(location: str) -> None:
    """Raises InvalidInput for what no folder can be below."""
    require_text(location, ARTIFACT_LOCATION_LENGTH, "artifact_location")
    scheme = _scheme(location)
    if scheme == "runs":
        raise InvalidInput(f"Artifact location cannot be a runs:/ URI. Given: {location!r}.")
    if "#" in location:
        raise InvalidInput("'artifact_location' URL can't include fragments or params.")
    if scheme in _PLACES and "?" in location:  # of which one half would be read as a path and the other not
        raise InvalidInput("'artifact_location' of a folder can't include a query.")
    if not {".", ".."}.isdisjoint(location.split("/")):
        raise InvalidInput(f"'artifact_location' must not leave its folder: {location!r}. Write it without . and ..")


def absolute(location: str, folder: Path) -> str:
    """A path that is relative is one below `folder`, and not below wherever somebody reads it.

    >>> absolute("models", Path("/srv")), absolute("file:models", Path("/srv")), absolute("s3://b/models", Path("/srv"))
    ('/srv/models', 'file:///srv/models', 's3://b/models')
    """
    scheme = _scheme(location)
    path = location[len("file:") :] if scheme else location
    if scheme not in ("", "file") or not path or path.startswith("/"):
        return location
    return (folder / path).as_uri() if scheme else str(folder / path)


def below(location: str, path: str) -> str:
    """The folder `path` in it; what a URI asks for comes behind the path, and its scheme is in small letters.

    >>> below("S3://bucket/models?region=eu", "1/artifacts")
    's3://bucket/models/1/artifacts?region=eu'
    """
    scheme = _scheme(location)
    folder, mark, query = location.partition("?") if scheme else (location, "", "")
    return f"{scheme}{folder[len(scheme) :].rstrip('/')}/{path}{mark}{query}"


def _scheme(location: str) -> str:
    try:
        return urlsplit(location).scheme
    except ValueError as error:
        raise InvalidInput(f"'artifact_location' is not a URI ({error}): {location!r}.") from error
