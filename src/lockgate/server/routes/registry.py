"""Releases, aliases, approvals and what people write on models and versions."""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import Connection, RowMapping

from lockgate.entities import Role
from lockgate.errors import PermissionDenied
from lockgate.metadata import admission, aliases, approvals, environments, models, releases, versions
from lockgate.metadata.database import Tx
from lockgate.metadata.limits import require_limit
from lockgate.server.act import tell_also
from lockgate.server.caller import Caller
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import LISTING, approver, contributor, viewer
from lockgate.server.own import require_own
from lockgate.server.subjects import of_approval, of_model, of_release, role_to_move_alias
from lockgate.wire import registry as wire
from lockgate.wire.mlflow.artifacts import CONTENT_FOLDER, PROXY_SCHEME
from lockgate.wire.operation import Empty


def ensure_model(ctx: Context, request: wire.OneModel) -> wire.ModelSummary:
    with ctx.write() as tx:
        models.ensure_model(tx, request.model)
        return _models(tx.connection, [models.get_model(tx.connection, request.model)])[0]


def get_model(ctx: Context, request: wire.OneModel) -> wire.ModelSummary:
    with ctx.read() as connection:
        return _models(connection, [models.get_model(connection, request.model)])[0]


def list_models(ctx: Context, request: wire.ListModels) -> wire.ModelList:
    with ctx.read() as connection:
        rows = models.list_models(connection, prefix=request.prefix, seen=ctx.caller.seen)
        return wire.ModelList(models=_models(connection, rows))


def get_version(ctx: Context, request: wire.OneVersion) -> wire.VersionSummary:
    with ctx.read() as connection:
        return summarize(connection, [versions.get_version(connection, request.model, request.version)])[0]


def list_versions(ctx: Context, request: wire.ListVersions) -> wire.VersionList:
    with ctx.read() as connection:
        limit = require_limit(request.limit)
        rows = versions.list_versions(connection, request.model, before=request.before, limit=limit)
        return wire.VersionList(versions=summarize(connection, rows))


def create_release(ctx: Context, request: wire.ReleaseMessage) -> wire.ReleaseMessage:
    release = replace(request.release, created_by=ctx.caller.author(request.release.created_by))
    source = f"{PROXY_SCHEME}{CONTENT_FOLDER}/{release.content.digest}"
    require_own(ctx, release.content.digest, release.report, release.profile)
    with ctx.write() as tx:
        made = releases.create_release(tx, release, source=source)
        tell_also(ctx.act, version=made.version)
        return wire.ReleaseMessage(release=made)


def get_release(ctx: Context, request: wire.OneVersion) -> wire.ReleaseMessage:
    with ctx.read() as connection:
        return wire.ReleaseMessage(release=releases.get_release(connection, request.model, request.version))


def list_releases(ctx: Context, request: wire.ListReleases) -> wire.ReleaseList:
    with ctx.read() as connection:
        limit = require_limit(request.limit)
        found = releases.list_releases(connection, request.model, before=request.before, limit=limit)
        return wire.ReleaseList(releases=found)


def find_release(ctx: Context, request: wire.FindRelease) -> wire.FoundRelease:
    with ctx.read() as connection:
        found = releases.find_release(connection, request.model, request.content_digest)
        return wire.FoundRelease(release=found)


def declare_environments(ctx: Context, request: wire.DeclareEnvironments) -> Empty:
    """Raises PermissionDenied where several people had to say yes and fewer will, unless an admin asks for it."""
    with ctx.write() as tx:
        changes = environments.declare_environments(tx, request.model, request.approvals, may_loosen=request.may_loosen)
        if changes:
            tell_also(ctx.act, changed=", ".join(map(str, changes)))
        _require_may_loosen(ctx.caller, request.model, changes)
    return Empty()


def set_alias(ctx: Context, request: wire.SetAlias) -> Empty:
    """Raises GateFailed or PermissionDenied where the alias stands for an environment that may not take the version."""
    with ctx.write() as tx:
        versions.get_version(tx.connection, request.model, request.version)
        admission.require_alias_admitted(tx.connection, request.model, request.alias, request.version)
        aliases.set_alias(tx, request.model, request.alias, request.version, reason=request.reason)
    return Empty()


def delete_alias(ctx: Context, request: wire.DeleteAlias) -> Empty:
    with ctx.write() as tx:
        aliases.delete_alias(tx, request.model, request.alias, reason=request.reason)
    return Empty()


def list_aliases(ctx: Context, request: wire.OneModel) -> wire.AliasMap:
    with ctx.read() as connection:
        return wire.AliasMap(aliases=aliases.list_aliases(connection, request.model))


def alias_history(ctx: Context, request: wire.ListAliasChanges) -> wire.AliasHistory:
    limit = require_limit(request.limit)
    with ctx.read() as connection:
        changes, older = aliases.alias_history(connection, request.model, before=request.before, limit=limit)
        return wire.AliasHistory(changes=changes, next_before=older)


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
    approval = replace(request.approval, approver=ctx.caller.author(request.approval.approver))
    with ctx.write() as tx:
        if ctx.caller.is_authenticated:
            approval = replace(approval, approved_at=tx.at)
        return wire.ApprovalMessage(approval=approvals.approve(tx, approval))


def list_approvals(ctx: Context, request: wire.ListApprovals) -> wire.ApprovalList:
    with ctx.read() as connection:
        found = approvals.list_approvals(connection, request.model, request.version, request.environment)
        return wire.ApprovalList(approvals=found)


def summarize(connection: Connection, rows: Sequence[RowMapping]) -> tuple[wire.VersionSummary, ...]:
    """Rows of `model_versions` as people see them."""
    keys = [(row["name"], row["version"]) for row in rows]
    named = versions.aliases_of_versions(connection, keys)
    tags = versions.tags_of_versions(connection, keys)
    return tuple(
        wire.VersionSummary(
            model=row["name"],
            version=row["version"],
            description=row["description"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            source=row["source"],
            run_id=row["run_id"],
            aliases=tuple(named.get((row["name"], row["version"]), ())),
            tags=dict(tags.get((row["name"], row["version"]), ())),
        )
        for row in rows
    )


def _models(connection: Connection, rows: Sequence[RowMapping]) -> tuple[wire.ModelSummary, ...]:
    names = [row["name"] for row in rows]
    newest = versions.newest_versions(connection, names)
    named = aliases.aliases_of_models(connection, names)
    tags = models.tags_of_models(connection, names)
    return tuple(
        wire.ModelSummary(
            name=row["name"],
            description=row["description"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            latest_version=newest.get(row["name"]),
            aliases=dict(named.get(row["name"], ())),
            tags=dict(tags.get(row["name"], ())),
        )
        for row in rows
    )


def _require_may_loosen(caller: Caller, model: str, changes: Sequence[environments.Change]) -> None:
    """An approver can give one approval; that several are not needed is more than one of them may say."""
    loosened = [change for change in changes if (change.before or 0) > max(1, change.after or 0)]
    if loosened and caller.rights is not None and not caller.rights.has("admin", model):
        raise PermissionDenied(
            f"only an admin of {model} may ask for fewer approvals where there were to be several: "
            f"{', '.join(map(str, loosened))}.",
            hint="put the approvals back into lockgate.yaml, or have an admin deploy once with it as it is",
        )


def _set_model_tag(tx: Tx, model: str, key: str, value: str | None) -> None:
    if value is None:
        models.delete_model_tag(tx, model, key)
    else:
        models.set_model_tag(tx, model, key, value)


def _role_to_declare(connection: Connection, request: wire.DeclareEnvironments) -> Role:
    """Whoever asks for fewer approvals could have given one; of more, `_require_may_loosen` decides."""
    return "approver" if request.may_loosen else "contributor"


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.ENSURE_MODEL, ensure_model, contributor(of_model)),
    Route(wire.GET_MODEL, get_model, viewer(of_model)),
    Route(wire.LIST_MODELS, list_models, LISTING),
    Route(wire.GET_VERSION, get_version, viewer(of_model)),
    Route(wire.LIST_VERSIONS, list_versions, viewer(of_model)),
    Route(wire.CREATE_RELEASE, create_release, contributor(of_release)),
    Route(wire.GET_RELEASE, get_release, viewer(of_model)),
    Route(wire.LIST_RELEASES, list_releases, viewer(of_model)),
    Route(wire.FIND_RELEASE, find_release, viewer(of_model)),
    Route(wire.DECLARE_ENVIRONMENTS, declare_environments, contributor(of_model, role_of=_role_to_declare)),
    Route(wire.SET_ALIAS, set_alias, contributor(of_model, role_of=role_to_move_alias)),
    Route(wire.DELETE_ALIAS, delete_alias, contributor(of_model, role_of=role_to_move_alias)),
    Route(wire.LIST_ALIASES, list_aliases, viewer(of_model)),
    Route(wire.ALIAS_HISTORY, alias_history, viewer(of_model)),
    Route(wire.SET_TAG, set_tag, contributor(of_model)),
    Route(wire.SET_DESCRIPTION, set_description, contributor(of_model)),
    Route(wire.APPROVE, approve, approver(of_approval)),
    Route(wire.LIST_APPROVALS, list_approvals, viewer(of_model)),
)
