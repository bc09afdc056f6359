"""Where a new model version has its files, and that whoever registers it may point there.

    models:/m-0123...       a logged model, which must be the one in `model_id`
    models:/churn/3         a copy of another version; @alias, /latest and /Stage are turned into its number
    runs:/RUN/path          files of the run in `run_id`
    mlflow-artifacts:/...   files that this server keeps: inside the run's or the logged model's own folder
    /path, file:/path       the same, for runs that keep their files on the server's disk
    s3://..., gs://...      kept elsewhere; this server never opens them

A source that leads into somebody else's files is refused, as MLflow's server refuses it: otherwise registering a model
would be a way to read them.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus, urlsplit

from sqlalchemy import Connection

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import aliases, logged_models, models, runs, versions
from lockgate.wire.mlflow.registry import CreateVersion

_PROMPT_SOURCES = ("dummy-source", "prompt-template")
_MOST_DIGITS = 18  # of a version; more make none that there is
# Clients read three slashes and more as one; behind two there is a host.
_IN_REGISTRY = re.compile("models:/(?://+)?(?!/)", re.IGNORECASE)
# What this server itself would open for a reader.
_KEPT_HERE = ("", "file", "mlflow-artifacts")


class Source(NamedTuple):
    """`location` None: the files are at `uri` itself."""

    uri: str
    location: str | None
    run_id: str
    model_id: str


class _Copied(NamedTuple):
    name: str
    wanted: str  # a number, `latest` or a stage; empty with an alias
    alias: str


def resolve_source(connection: Connection, request: CreateVersion) -> Source:
    """Raises InvalidInput for a source that is not the caller's to give, NotFound for one that is not there."""
    uri = request.source
    run_id, model_id = request.run_id or "", request.model_id or ""
    if models.marks_prompt({tag.key: tag.value for tag in request.tags}):
        if uri not in _PROMPT_SOURCES:
            raise InvalidInput(f"{uri!r} cannot be the source of a prompt; it is {' or '.join(_PROMPT_SOURCES)}.")
        return Source(uri, None, run_id, model_id)
    _require_plain(uri)
    scheme = urlsplit(uri).scheme
    if scheme == "models":
        return _from_registry(connection, request)
    if scheme in ("http", "https"):
        raise _refusal(uri, "this server does not fetch from other servers; write mlflow-artifacts:/...")
    logged = logged_models.get_logged_model(connection, model_id) if model_id else None
    elsewhere = _elsewhere(uri, "model_id" if model_id else "run_id")
    if scheme == "runs" and (logged is not None or not run_id or _run_of(uri) != run_id):
        raise elsewhere
    if scheme in _KEPT_HERE:
        root = logged["artifact_uri"] if logged is not None else _run_root(connection, run_id)
        if root is None or not _is_within(uri, root):
            raise elsewhere
    return Source(uri, None, run_id or ((logged and logged["source_run_id"]) or ""), model_id)


def logged_model_id(source: str) -> str:
    """The id in `models:/m-...`; empty for other sources."""
    rest = _in_registry(source)
    return rest if re.fullmatch(r"m-[^/@]+", rest) else ""


def copied_model(uri: str) -> str:
    """The NAME in `models:/NAME/...`; empty for other sources. Raises InvalidInput."""
    return _parse_copied(uri).name if _in_registry(uri) and not logged_model_id(uri) else ""


def _in_registry(uri: str) -> str:
    """What follows `models:/`; empty for other URIs."""
    found = _IN_REGISTRY.match(uri)
    return uri[found.end() :] if found else ""


def _from_registry(connection: Connection, request: CreateVersion) -> Source:
    if (model_id := logged_model_id(request.source)) != "":
        if request.model_id != model_id:
            raise _elsewhere(request.source, "model_id")
        logged = logged_models.get_logged_model(connection, model_id)
        run_id = request.run_id or logged["source_run_id"] or ""
        return Source(request.source, logged["artifact_uri"], run_id, model_id)
    name, version = _copied_version(connection, request.source)
    if models.is_prompt(connection, name):
        raise _refusal(request.source, "a version of a prompt has no files")
    row = versions.get_version(connection, name, version)
    given = (request.run_id, request.model_id)
    for said, known in zip(given, (row["run_id"], row["model_id"]), strict=True):
        if said is not None and said != known:
            raise _refusal(request.source, "run_id and model_id must be those of the version that is copied")
    return Source(f"models:/{name}/{version}", row["location"] or row["source"], row["run_id"], row["model_id"])


def _copied_version(connection: Connection, uri: str) -> tuple[str, int]:
    name, wanted, alias = _parse_copied(uri)
    models.get_model(connection, name)
    is_latest = aliases.LATEST in (alias.lower(), wanted.lower())
    if alias and not is_latest:
        version = aliases.find_alias(connection, name, alias)
        if version is None:
            raise InvalidInput(f"Registered model alias {alias} not found.", hint=f"lockgate models alias {name}")
        return name, version
    if wanted.isascii() and wanted.isdigit():
        return name, int(wanted[:_MOST_DIGITS])
    stages = () if is_latest else (wanted,)
    newest = [int(row["version"]) for row in versions.latest_versions(connection, [name], stages)]
    if not newest:
        raise NotFound(f"the model {name!r} has no version {wanted!r}.", hint=f"lockgate models show {name}")
    return name, max(newest)


def _parse_copied(uri: str) -> _Copied:
    rest = re.sub("%2f", "/", _in_registry(uri), flags=re.IGNORECASE)
    folder, _, last = rest.rpartition("/")
    before, at, alias = last.rpartition("@")
    name = "/".join(part for part in (folder, before) if part) if at else folder
    if not name or name.startswith("/") or not (alias if at else last):
        raise _refusal(uri, "it is neither models:/NAME/VERSION nor models:/NAME@ALIAS")
    return _Copied(name, "" if at else last, alias if at else "")


def _require_plain(uri: str) -> None:
    """Raises InvalidInput for a path that means another one, however often it is encoded."""
    text = uri
    while (decoded := unquote_plus(text)) != text:
        text = decoded
    try:
        path = urlsplit(text).path
        urlsplit(uri)
    except ValueError as error:
        raise _refusal(uri, f"it is not a URI ({error})") from error
    parts = {*text.split("/"), *path.split("/")}
    if not path.strip("/ ") or "\x00" in text or parts & {".", ".."}:
        raise _refusal(uri, "write an absolute location without . and ..")


def _run_of(uri: str) -> str:
    """As clients read `runs:/RUN/path`: any number of slashes before the run, and no host."""
    found = urlsplit(uri)
    return "" if found.netloc else found.path.lstrip("/").partition("/")[0]


def _run_root(connection: Connection, run_id: str) -> str | None:
    if not run_id:
        return None
    try:
        return str(runs.get_run(connection, run_id)["artifact_uri"])
    except NotFound:
        return None


def _is_within(uri: str, root: str) -> bool:
    inner, outer = _parts(uri), _parts(root)
    return bool(outer[2]) and inner[:2] == outer[:2] and inner[2][: len(outer[2])] == outer[2]


def _parts(uri: str) -> tuple[str, str, tuple[str, ...]]:
    """Scheme, host, and the parts of the path; a plain path and a file: URI are the same."""
    found = urlsplit(uri)
    scheme = "file" if found.scheme == "" else found.scheme.lower()
    return scheme, found.netloc.lower(), tuple(unquote(part) for part in found.path.split("/") if part)


def _refusal(uri: str, why: str) -> InvalidInput:
    return InvalidInput(f"Invalid model version source {uri!r}: {why}.")


def _elsewhere(uri: str, field: str) -> InvalidInput:
    """In the words of MLflow's server."""
    return InvalidInput(
        f"Invalid model version source: {uri!r}. "
        f"The {field} request parameter must identify the resource that contains the source."
    )
