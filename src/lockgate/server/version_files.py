"""`GET /model-versions/get-artifact?name=churn&version=3&path=MLmodel`: where one file of a model version is."""

from collections.abc import Mapping

from lockgate.errors import InvalidInput
from lockgate.metadata.versions import get_version
from lockgate.server.admitted import require_for
from lockgate.server.artifacts.paths import require_safe
from lockgate.server.context import Context
from lockgate.server.needs import viewer
from lockgate.server.routes.mlflow_registry import version_location, version_number
from lockgate.server.subjects import of_name
from lockgate.wire.mlflow.artifacts import proxied_path
from lockgate.wire.mlflow.registry import OneModelVersion


def version_file(ctx: Context, given: Mapping[str, str]) -> str:
    """Where to ask for the file, which takes the rights to that place besides.

    Raises PermissionDenied for a model that the caller may not see, NotFound for the version, InvalidInput for a path
    with tricks and for files that are kept elsewhere.
    """
    name, version, path = (given.get(key, "") for key in ("name", "version", "path"))
    for key, value in (("name", name), ("version", version), ("path", path)):
        if not value:
            raise InvalidInput(f"Missing value for required parameter '{key}'.")
    wanted = OneModelVersion(name=name, version=version)
    require_for(viewer(of_name), ctx, wanted)  # before anything is said of where the files are
    require_safe(path, is_below=True)
    with ctx.read() as connection:
        row = get_version(connection, wanted.name, version_number(wanted.version))
        location = version_location(connection, row)
    root = proxied_path(location)
    if root is None:
        raise InvalidInput(f"the files of {wanted.name}@{version} are at {location}, which this server does not open.")
    return f"{root}/{path}"
