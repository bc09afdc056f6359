"""Models, releases, aliases and approvals."""

from collections.abc import Iterator, Mapping

from lockgate.client.newest import newest_first
from lockgate.client.transport import Transport
from lockgate.entities import AliasChange, Approval, Release
from lockgate.wire import registry as wire

_PAGE = 1000  # of one answer


class Registry:
    """Models, versions, releases, aliases, approvals."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def ensure_model(self, name: str) -> wire.ModelSummary:
        """The model, made where there is none."""
        return self._transport.call(wire.ENSURE_MODEL, wire.OneModel(model=name))

    def get_model(self, name: str) -> wire.ModelSummary:
        """Raises NotFound."""
        return self._transport.call(wire.GET_MODEL, wire.OneModel(model=name))

    def list_models(self, prefix: str = "") -> list[wire.ModelSummary]:
        """By name; `team/` lists what is in that folder."""
        return list(self._transport.call(wire.LIST_MODELS, wire.ListModels(prefix=prefix)).models)

    def get_version(self, model: str, version: int) -> wire.VersionSummary:
        """What people see of a version: its tags, aliases and description. Raises NotFound."""
        return self._transport.call(wire.GET_VERSION, wire.OneVersion(model=model, version=version))

    def list_versions(self, model: str, limit: int = 100, *, before: int | None = None) -> list[wire.VersionSummary]:
        """Newest first, those without a release as well; with a number below `before`."""
        request = wire.ListVersions(model=model, before=before, limit=limit)
        return list(self._transport.call(wire.LIST_VERSIONS, request).versions)

    def create_release(self, release: Release) -> Release:
        """The release with the version it was given; `release.version` is ignored. The model is made when absent."""
        return self._transport.call(wire.CREATE_RELEASE, wire.ReleaseMessage(release=release)).release

    def get_release(self, model: str, version: int) -> Release:
        """Raises NotFound."""
        return self._transport.call(wire.GET_RELEASE, wire.OneVersion(model=model, version=version)).release

    def list_releases(self, model: str, limit: int = 100, *, before: int | None = None) -> list[Release]:
        """Newest first, with a number below `before`."""
        request = wire.ListReleases(model=model, before=before, limit=limit)
        return list(self._transport.call(wire.LIST_RELEASES, request).releases)

    def iter_releases(self, model: str) -> Iterator[Release]:
        """All, newest first."""

        def ask(before: int | None) -> list[Release]:
            return self.list_releases(model, limit=_PAGE, before=before)

        return newest_first(ask, lambda release: release.version, size=_PAGE)

    def find_release(self, model: str, content_digest: str) -> Release | None:
        """The newest release of the model with exactly that content."""
        request = wire.FindRelease(model=model, content_digest=content_digest)
        return self._transport.call(wire.FIND_RELEASE, request).release

    def declare_environments(self, model: str, approvals: Mapping[str, int], *, may_loosen: bool) -> None:
        """Tell the server which environments there are, in the order of promotion, and the approvals each needs.

        Without `may_loosen` no environment is forgotten and none needs fewer approvals than before.
        """
        request = wire.DeclareEnvironments(model=model, approvals=dict(approvals), may_loosen=may_loosen)
        self._transport.call(wire.DECLARE_ENVIRONMENTS, request)

    def set_alias(self, model: str, alias: str, version: int, *, reason: str = "") -> None:
        """Point an alias at a version. Raises NotFound for the model or version, InvalidInput for a reserved name.

        An alias that stands for an environment takes only what may enter it: raises GateFailed naming the gates that
        refused the version, PermissionDenied where approvals are missing.
        """
        self._transport.call(wire.SET_ALIAS, wire.SetAlias(model=model, alias=alias, version=version, reason=reason))

    def get_alias(self, model: str, alias: str) -> int | None:
        """The version that an alias points at."""
        return self.list_aliases(model).get(alias)

    def delete_alias(self, model: str, alias: str, *, reason: str = "") -> None:
        """Nothing happens where there is no such alias."""
        self._transport.call(wire.DELETE_ALIAS, wire.DeleteAlias(model=model, alias=alias, reason=reason))

    def list_aliases(self, model: str) -> dict[str, int]:
        """By name; empty also where there is no such model."""
        return self._transport.call(wire.LIST_ALIASES, wire.OneModel(model=model)).aliases

    def alias_history(self, model: str) -> list[AliasChange]:
        """Every move of every alias, newest first."""
        page = self._transport.call(wire.ALIAS_HISTORY, wire.ListAliasChanges(model=model, limit=_PAGE))
        changes = list(page.changes)
        while page.next_before is not None:
            request = wire.ListAliasChanges(model=model, before=page.next_before, limit=_PAGE)
            page = self._transport.call(wire.ALIAS_HISTORY, request)
            changes += page.changes
        return changes

    def set_model_tag(self, model: str, key: str, value: str | None) -> None:
        """None removes the tag."""
        self._transport.call(wire.SET_TAG, wire.SetTag(model=model, key=key, value=value))

    def set_version_tag(self, model: str, version: int, key: str, value: str | None) -> None:
        """None removes the tag."""
        self._transport.call(wire.SET_TAG, wire.SetTag(model=model, version=version, key=key, value=value))

    def set_model_description(self, model: str, description: str) -> None:
        self._transport.call(wire.SET_DESCRIPTION, wire.SetDescription(model=model, description=description))

    def set_version_description(self, model: str, version: int, description: str) -> None:
        request = wire.SetDescription(model=model, version=version, description=description)
        self._transport.call(wire.SET_DESCRIPTION, request)

    def approve(self, approval: Approval) -> Approval:
        """The recorded approval; an approver's first word about a version and environment stands."""
        return self._transport.call(wire.APPROVE, wire.ApprovalMessage(approval=approval)).approval

    def list_approvals(self, model: str, version: int, environment: str | None = None) -> list[Approval]:
        """Oldest first."""
        request = wire.ListApprovals(model=model, version=version, environment=environment)
        return list(self._transport.call(wire.LIST_APPROVALS, request).approvals)
