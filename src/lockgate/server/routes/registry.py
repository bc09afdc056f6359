"""Releases, aliases, approvals and what people write on models and versions."""

from sqlalchemy import Connection, RowMapping

from lockgate.metadata import aliases, approvals, models, releases, versions
from lockgate.metadata.database import Tx
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.wire import registry as wire
from lockgate.wire.mlflow.artifacts import PROXY_SCHEME
from lockgate.wire.operation import Empty

CONTENT_FOLDER = "content"  # where the artifact proxy shows released content, by digest


def ensure_model(ctx: Context, request: wire.OneModel) -> wire.ModelSummary:
    with ctx.write() as tx:
        models.ensure_model(tx, request.model)
        return _model(tx.connection, models.get_model(tx.connection, request.model))


def get_model(ctx: Context, request: wire.OneModel) -> wire.ModelSummary:
    with ctx.read() as connection:
        return _model(connection, models.get_model(connection, request.model))


def list_models(ctx: Context, request: Empty) -> wire.ModelList:
    with ctx.read() as connection:
        return wire.ModelList(models=tuple(_model(connection, row) for row in models.list_models(connection)))


def get_version(ctx: Context, request: wire.OneVersion) -> wire.VersionSummary:
    with ctx.read() as connection:
        row = versions.get_version(connection, request.model, request.version)
        return wire.VersionSummary(
            model=row["name"],
            version=row["version"],
            description=row["description"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            source=row["source"],
            run_id=row["run_id"],
            aliases=versions.version_aliases(connection, request.model, request.version),
            tags=versions.version_tags(connection, request.model, request.version),
        )


def create_release(ctx: Context, request: wire.ReleaseMessage) -> wire.ReleaseMessage:
    source = f"{PROXY_SCHEME}{CONTENT_FOLDER}/{request.release.content.digest}"
    with ctx.write() as tx:
        return wire.ReleaseMessage(release=releases.create_release(tx, request.release, source=source))


def get_release(ctx: Context, request: wire.OneVersion) -> wire.ReleaseMessage:
    with ctx.read() as connection:
        return wire.ReleaseMessage(release=releases.get_release(connection, request.model, request.version))


def list_releases(ctx: Context, request: wire.ListReleases) -> wire.ReleaseList:
    with ctx.read() as connection:
        found = releases.list_releases(connection, request.model, limit=request.limit)
        return wire.ReleaseList(releases=found)


def find_release(ctx: Context, request: wire.FindRelease) -> wire.FoundRelease:
    with ctx.read() as connection:
        found = releases.find_release(connection, request.model, request.content_digest)
        return wire.FoundRelease(release=found)


def set_alias(ctx: Context, request: wire.SetAlias) -> Empty:
    with ctx.write() as tx:
        aliases.set_alias(tx, request.model, request.alias, request.version, reason=request.reason)
    return Empty()


def delete_alias(ctx: Context, request: wire.DeleteAlias) -> Empty:
    with ctx.write() as tx:
        aliases.delete_alias(tx, request.model, request.alias, reason=request.reason)
    return Empty()


def list_aliases(ctx: Context, request: wire.OneModel) -> wire.AliasMap:
    with ctx.read() as connection:
        return wire.AliasMap(aliases=aliases.list_aliases(connection, request.model))


def alias_history(ctx: Context, request: wire.OneModel) -> wire.AliasHistory:
    with ctx.read() as connection:
        return wire.AliasHistory(changes=aliases.alias_history(connection, request.model))


def set_tag(ctx: Context, request: wire.SetTag) -> Empty:
    with ctx.write() as tx:
        if request.version is None:
            _set_model_tag(tx, request.model, request.key, request.value)
        elif request.value is None:
            versions.delete_version_tag(tx, request.model, request.version, request.key)
        else:
            versions.set_version_tag(tx, request.model, request.version, request.key, request.value)
    return Empty()


def set_description(ctx: Context, request: wire.SetDescription) -> Empty:
    with ctx.write() as tx:
        if request.version is None:
            models.describe_model(tx, request.model, request.description)
        else:
            versions.describe_version(tx, request.model, request.version, request.description)
    return Empty()


def approve(ctx: Context, request: wire.ApprovalMessage) -> wire.ApprovalMessage:
    with ctx.write() as tx:
        return wire.ApprovalMessage(approval=approvals.approve(tx, request.approval))


def list_approvals(ctx: Context, request: wire.ListApprovals) -> wire.ApprovalList:
    with ctx.read() as connection:
        found = approvals.list_approvals(connection, request.model, request.version, request.environment)
        return wire.ApprovalList(approvals=found)


def _model(connection: Connection, row: RowMapping) -> wire.ModelSummary:
    return wire.ModelSummary(
        name=row["name"],
        description=row["description"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        latest_version=versions.newest_version(connection, row["name"]),
        aliases=aliases.list_aliases(connection, row["name"]),
        tags=models.model_tags(connection, row["name"]),
    )


def _set_model_tag(tx: Tx, model: str, key: str, value: str | None) -> None:
    if value is None:
        models.delete_model_tag(tx, model, key)
    else:
        models.set_model_tag(tx, model, key, value)


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.ENSURE_MODEL, ensure_model),
    Route(wire.GET_MODEL, get_model),
    Route(wire.LIST_MODELS, list_models),
    Route(wire.GET_VERSION, get_version),
    Route(wire.CREATE_RELEASE, create_release),
    Route(wire.GET_RELEASE, get_release),
    Route(wire.LIST_RELEASES, list_releases),
    Route(wire.FIND_RELEASE, find_release),
    Route(wire.SET_ALIAS, set_alias),
    Route(wire.DELETE_ALIAS, delete_alias),
    Route(wire.LIST_ALIASES, list_aliases),
    Route(wire.ALIAS_HISTORY, alias_history),
    Route(wire.SET_TAG, set_tag),
    Route(wire.SET_DESCRIPTION, set_description),
    Route(wire.APPROVE, approve),
    Route(wire.LIST_APPROVALS, list_approvals),
)
