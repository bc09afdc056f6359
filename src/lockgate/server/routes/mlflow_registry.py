"""MLflow's model registry over the same models, versions and aliases as our own.

An alias or a stage that stands for an environment obeys `metadata.admission`: a version that its gates refused does not
become `production` through MLflow's client either.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping

from lockgate.errors import GateFailed, InvalidInput, NotFound, PermissionDenied
from lockgate.metadata import admission, aliases, logged_models, models, registry_search, versions
from lockgate.metadata.audit import DONE
from lockgate.metadata.database import Tx
from lockgate.server.act import tell_also
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import LISTING, admin, approver, contributor, viewer
from lockgate.server.sources import logged_model_id, resolve_source
from lockgate.server.subjects import of_name, of_rename, of_source, role_to_move_alias
from lockgate.wire.mlflow import registry as wire
from lockgate.wire.mlflow.experiments import as_tags
from lockgate.wire.operation import Empty


def create_model(ctx: Context, request: wire.CreateRegisteredModel) -> wire.RegisteredModelMessage:
    with ctx.write() as tx:
        tags = {tag.key: tag.value for tag in request.tags}
        models.create_model(tx, request.name, description=request.description, tags=tags)
        return _answer_model(tx.connection, request.name)


def get_model(ctx: Context, request: wire.ModelName) -> wire.RegisteredModelMessage:
    with ctx.read() as connection:
        return _answer_model(connection, request.name)


def rename_model(ctx: Context, request: wire.RenameModel) -> wire.RegisteredModelMessage:
    with ctx.write() as tx:
        models.rename_model(tx, request.name, request.new_name)
        if ctx.act is not None and request.new_name != request.name:
            # Under the new name as well: who asks for its lines learns which name the older ones are under.
            ctx.audit(tx, ctx.act, subject=request.new_name, outcome=DONE, details=ctx.act.details())
        return _answer_model(tx.connection, request.new_name)


def update_model(ctx: Context, request: wire.UpdateModel) -> wire.RegisteredModelMessage:
    with ctx.write() as tx:
        models.describe_model(tx, request.name, request.description)
        return _answer_model(tx.connection, request.name)


def delete_model(ctx: Context, request: wire.ModelName) -> Empty:
    with ctx.write() as tx:
        models.delete_model(tx, request.name)
    return Empty()


def search_models(ctx: Context, request: wire.Search) -> wire.ModelPage:
    with ctx.read() as connection:
        page = registry_search.search_models(
            connection,
            filter_=request.filter,
            order_by=request.order_by,
            max_results=request.max_results,
            page_token=request.page_token,
            seen=ctx.caller.seen,
        )
        return wire.ModelPage(registered_models=_models(connection, page.rows), next_page_token=page.next_token)


def latest_versions(ctx: Context, request: wire.LatestVersions) -> wire.VersionList:
    with ctx.read() as connection:
        models.get_model(connection, request.name)
        rows = versions.latest_versions(connection, [request.name], request.stages)
        return wire.VersionList(model_versions=_versions(connection, rows))


def set_model_tag(ctx: Context, request: wire.SetModelTag) -> Empty:
    with ctx.write() as tx:
        models.set_model_tag(tx, request.name, request.key, request.value)
    return Empty()


def delete_model_tag(ctx: Context, request: wire.DeleteModelTag) -> Empty:
    with ctx.write() as tx:
        models.delete_model_tag(tx, request.name, request.key)
    return Empty()


def set_model_alias(ctx: Context, request: wire.SetModelAlias) -> Empty:
    with ctx.write() as tx:
        version = version_number(request.version)
        if not _move_alias(tx, request.name, request.alias, version, reason=""):
            aliases.tell_alias(tx, request.name, request.alias, version)  # as MLflow's server does
    return Empty()


def delete_model_alias(ctx: Context, request: wire.OneAlias) -> Empty:
    with ctx.write() as tx:
        if not aliases.delete_alias(tx, request.name, request.alias):
            aliases.tell_alias(tx, request.name, request.alias, None)  # as MLflow's server does
    return Empty()


def get_version_by_alias(ctx: Context, request: wire.OneAlias) -> wire.VersionMessage:
    """Raises InvalidInput where there is no such alias: that is MLflow's own code for it, which its clients test."""
    with ctx.read() as connection:
        models.get_model(connection, request.name)
        if request.alias.lower() == aliases.LATEST:
            version = versions.newest_version(connection, request.name)
            if version is None:
                raise NotFound(f"Latest version not found for model {request.name}.")
        else:
            version = aliases.find_alias(connection, request.name, request.alias)
            if version is None:
                raise InvalidInput(f"Registered model alias {request.alias} not found.")
        return _answer_version(connection, request.name, version)


def create_version(ctx: Context, request: wire.CreateVersion) -> wire.VersionMessage:
    with ctx.write() as tx:
        source = resolve_source(tx.connection, request)
        version = versions.create_version(
            tx,
            request.name,
            source=source.uri,
            location=source.location,
            run_id=source.run_id,
            run_link=request.run_link,
            model_id=source.model_id,
            description=request.description,
            tags={tag.key: tag.value for tag in request.tags},
        )
        tell_also(ctx.act, version=version)
        return _answer_version(tx.connection, request.name, version)


def get_version(ctx: Context, request: wire.OneModelVersion) -> wire.VersionMessage:
    with ctx.read() as connection:
        return _answer_version(connection, request.name, version_number(request.version))


def update_version(ctx: Context, request: wire.UpdateVersion) -> wire.VersionMessage:
    with ctx.write() as tx:
        version = version_number(request.version)
        versions.describe_version(tx, request.name, version, request.description)
        return _answer_version(tx.connection, request.name, version)


def delete_version(ctx: Context, request: wire.OneModelVersion) -> Empty:
    with ctx.write() as tx:
        aliases.delete_version(tx, request.name, version_number(request.version))
    return Empty()


def search_versions(ctx: Context, request: wire.SearchVersions) -> wire.VersionPage:
    with ctx.read() as connection:
        page = registry_search.search_versions(
            connection,
            filter_=request.filter,
            order_by=request.order_by,
            max_results=request.max_results,
            page_token=request.page_token,
            seen=ctx.caller.seen,
        )
        return wire.VersionPage(model_versions=_versions(connection, page.rows), next_page_token=page.next_token)


def version_download_uri(ctx: Context, request: wire.OneModelVersion) -> wire.DownloadUri:
    with ctx.read() as connection:
        row = versions.get_version(connection, request.name, version_number(request.version))
        return wire.DownloadUri(artifact_uri=version_location(connection, row))


def version_location(connection: Connection, row: RowMapping) -> str:
    """Where the files of a version are."""
    if row["location"]:
        return str(row["location"])
    model_id = logged_model_id(row["source"])
    return str(logged_models.get_logged_model(connection, model_id)["artifact_uri"] if model_id else row["source"])


def transition_stage(ctx: Context, request: wire.TransitionStage) -> wire.VersionMessage:
    """MLflow's stages are past; where one is called like an environment, that alias comes and goes with it."""
    with ctx.write() as tx:
        version = version_number(request.version)
        before = versions.get_version(tx.connection, request.name, version)["stage"]
        versions.move_to_stage(
            tx, request.name, version, request.stage, archive_existing=request.archive_existing_versions
        )
        environment = admission.stage_environment(tx.connection, request.name, request.stage)
        # A version is in one stage, and may be in several environments.
        for stage in () if before.lower() == request.stage.lower() else versions.STAGES:
            left = admission.stage_environment(tx.connection, request.name, stage)
            if left not in (None, environment) and aliases.find_alias(tx.connection, request.name, left) == version:
                aliases.delete_alias(tx, request.name, left, reason=f"moved to stage {request.stage}")
        if environment is not None:
            _move_alias(tx, request.name, environment, version, reason=f"moved to stage {request.stage}")
        return _answer_version(tx.connection, request.name, version)


def set_version_tag(ctx: Context, request: wire.SetVersionTag) -> Empty:
    with ctx.write() as tx:
        versions.set_version_tag(tx, request.name, version_number(request.version), request.key, request.value)
    return Empty()


def delete_version_tag(ctx: Context, request: wire.DeleteVersionTag) -> Empty:
    with ctx.write() as tx:
        versions.delete_version_tag(tx, request.name, version_number(request.version), request.key)
    return Empty()


def version_number(text: str) -> int:
    """Versions travel as strings. Raises InvalidInput for what is none."""
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"Parameter 'version' must be an integer, got {text[:40]!r}.") from None


def _move_alias(tx: Tx, name: str, alias: str, version: int, *, reason: str) -> bool:
    versions.get_version(tx.connection, name, version)
    try:
        admission.require_alias_admitted(tx.connection, name, alias, version)
    except (GateFailed, PermissionDenied) as error:
        # MLflow's clients show the message alone, so the way out has to be in it.
        raise type(error)(f"{error.message} To go on: {error.hint}") from error
    return aliases.set_alias(tx, name, alias, version, reason=reason)


def _answer_model(connection: Connection, name: str) -> wire.RegisteredModelMessage:
    return wire.RegisteredModelMessage(registered_model=_models(connection, [models.get_model(connection, name)])[0])


def _answer_version(connection: Connection, name: str, version: int) -> wire.VersionMessage:
    row = versions.get_version(connection, name, version)
    return wire.VersionMessage(model_version=_versions(connection, [row])[0])


def _models(connection: Connection, rows: Sequence[RowMapping]) -> tuple[wire.RegisteredModel, ...]:
    """With a fixed number of queries, however many there are."""
    names = [row["name"] for row in rows]
    tags = models.tags_of_models(connection, names)
    named = aliases.aliases_of_models(connection, names)
    latest: dict[str, list[wire.ModelVersion]] = {}
    for version in _versions(connection, versions.latest_versions(connection, names)):
        latest.setdefault(version.name, []).append(version)
    return tuple(
        wire.RegisteredModel(
            name=row["name"],
            creation_timestamp=row["created_at"],
            last_updated_timestamp=row["updated_at"],
            user_id=row["created_by"],
            description=row["description"],
            latest_versions=tuple(latest.get(row["name"], ())),
            tags=as_tags(tags.get(row["name"], ())),
            aliases=tuple(wire.Alias(alias=alias, version=str(v)) for alias, v in named.get(row["name"], ())),
        )
        for row in rows
    )


def _versions(connection: Connection, rows: Sequence[RowMapping]) -> tuple[wire.ModelVersion, ...]:
    keys = [(row["name"], row["version"]) for row in rows]
    tags = versions.tags_of_versions(connection, keys)
    named = versions.aliases_of_versions(connection, keys)
    return tuple(
        wire.ModelVersion(
            name=row["name"],
            version=str(row["version"]),
            creation_timestamp=row["created_at"],
            last_updated_timestamp=row["updated_at"],
            user_id=row["created_by"],
            current_stage=row["stage"],
            description=row["description"],
            source=row["source"],
            run_id=row["run_id"],
            status="READY",
            tags=as_tags(tags.get((row["name"], row["version"]), ())),
            run_link=row["run_link"],
            aliases=tuple(named.get((row["name"], row["version"]), ())),
            model_id=row["model_id"] or None,
        )
        for row in rows
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.CREATE_MODEL, create_model, contributor(of_name)),
    Route(wire.GET_MODEL, get_model, viewer(of_name)),
    Route(wire.RENAME_MODEL, rename_model, admin(of_rename)),
    Route(wire.UPDATE_MODEL, update_model, contributor(of_name)),
    Route(wire.DELETE_MODEL, delete_model, admin(of_name)),
    Route(wire.SEARCH_MODELS, search_models, LISTING),
    Route(wire.LATEST_VERSIONS, latest_versions, viewer(of_name)),
    Route(wire.LATEST_VERSIONS_GET, latest_versions, viewer(of_name)),
    Route(wire.SET_MODEL_TAG, set_model_tag, contributor(of_name)),
    Route(wire.DELETE_MODEL_TAG, delete_model_tag, contributor(of_name)),
    Route(wire.SET_MODEL_ALIAS, set_model_alias, contributor(of_name, role_of=role_to_move_alias)),
    Route(wire.DELETE_MODEL_ALIAS, delete_model_alias, contributor(of_name, role_of=role_to_move_alias)),
    Route(wire.GET_VERSION_BY_ALIAS, get_version_by_alias, viewer(of_name)),
    Route(wire.CREATE_VERSION, create_version, contributor(of_name, reads=of_source)),
    Route(wire.GET_VERSION, get_version, viewer(of_name)),
    Route(wire.UPDATE_VERSION, update_version, contributor(of_name)),
    Route(wire.DELETE_VERSION, delete_version, admin(of_name)),
    Route(wire.SEARCH_VERSIONS, search_versions, LISTING),
    Route(wire.VERSION_DOWNLOAD_URI, version_download_uri, viewer(of_name)),
    Route(wire.TRANSITION_STAGE, transition_stage, approver(of_name)),
    Route(wire.SET_VERSION_TAG, set_version_tag, contributor(of_name)),
    Route(wire.DELETE_VERSION_TAG, delete_version_tag, contributor(of_name)),
)
