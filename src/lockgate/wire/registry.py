"""Releases, aliases with their history, approvals: Lockgate's own registry operations."""

from msgspec import field

from lockgate.entities import AliasChange, Approval, Release
from lockgate.wire.operation import LONGEST_LIST, Empty, Message, own


class ModelSummary(Message, frozen=True, kw_only=True):
    """One registered model with its newest version and aliases."""

    name: str
    description: str = ""
    created_at: int
    updated_at: int
    latest_version: int | None = None
    aliases: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class VersionSummary(Message, frozen=True, kw_only=True):
    """One immutable version of a model with what people have added to it. `source` is where its files are."""

    model: str
    version: int
    description: str = ""
    created_at: int
    created_by: str = ""
    source: str = ""
    run_id: str = ""
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


class OneModel(Message, frozen=True, kw_only=True):
    model: str


class OneVersion(Message, frozen=True, kw_only=True):
    model: str
    version: int


class ListModels(Message, frozen=True, kw_only=True):
    """`prefix` `team/` means what is in that folder."""

    prefix: str = ""


class ModelList(Message, frozen=True, kw_only=True):
    models: tuple[ModelSummary, ...] = ()


class ListVersions(Message, frozen=True, kw_only=True):
    """Newest first: those with a number below `before`."""

    model: str
    before: int | None = None
    limit: int = 100


class VersionList(Message, frozen=True, kw_only=True):
    versions: tuple[VersionSummary, ...] = ()


class ReleaseMessage(Message, frozen=True, kw_only=True):
    release: Release


class ListReleases(Message, frozen=True, kw_only=True):
    """Newest first: those with a number below `before`."""

    model: str
    before: int | None = None
    limit: int = 100


class ReleaseList(Message, frozen=True, kw_only=True):
    releases: tuple[Release, ...] = ()


class FindRelease(Message, frozen=True, kw_only=True):
    model: str
    content_digest: str


class FoundRelease(Message, frozen=True, kw_only=True):
    release: Release | None = None


class SetAlias(Message, frozen=True, kw_only=True):
    model: str
    alias: str
    version: int
    reason: str = ""


class DeleteAlias(Message, frozen=True, kw_only=True):
    model: str
    alias: str
    reason: str = ""


class DeclareEnvironments(Message, frozen=True, kw_only=True):
    """The approvals that each environment needs, in the order of promotion.

    Without `may_loosen` no environment is forgotten and none needs fewer approvals than before.
    """

    model: str
    approvals: dict[str, int]
    may_loosen: bool = False


class AliasMap(Message, frozen=True, kw_only=True):
    aliases: dict[str, int] = field(default_factory=dict)


class ListAliasChanges(Message, frozen=True, kw_only=True):
    """Newest first. `before` is `next_before` of the answer that had the newer ones."""

    model: str
    before: int | None = None
    limit: int = LONGEST_LIST


class AliasHistory(Message, frozen=True, kw_only=True):
    """`next_before` None: there are no older ones."""

    changes: tuple[AliasChange, ...] = ()
    next_before: int | None = None


class SetTag(Message, frozen=True, kw_only=True):
    """`version` None means the model itself; `value` None removes the tag."""

    model: str
    version: int | None = None
    key: str
    value: str | None = None


class SetDescription(Message, frozen=True, kw_only=True):
    """`version` None means the model itself."""

    model: str
    version: int | None = None
    description: str


class ApprovalMessage(Message, frozen=True, kw_only=True):
    approval: Approval


class ListApprovals(Message, frozen=True, kw_only=True):
    model: str
    version: int
    environment: str | None = None


class ApprovalList(Message, frozen=True, kw_only=True):
    approvals: tuple[Approval, ...] = ()


ENSURE_MODEL = own("registry", "ensure_model", OneModel, ModelSummary)
GET_MODEL = own("registry", "get_model", OneModel, ModelSummary, method="GET")
LIST_MODELS = own("registry", "list_models", ListModels, ModelList, method="GET")
GET_VERSION = own("registry", "get_version", OneVersion, VersionSummary, method="GET")
LIST_VERSIONS = own("registry", "list_versions", ListVersions, VersionList, method="GET")
CREATE_RELEASE = own("registry", "create_release", ReleaseMessage, ReleaseMessage)
GET_RELEASE = own("registry", "get_release", OneVersion, ReleaseMessage, method="GET")
LIST_RELEASES = own("registry", "list_releases", ListReleases, ReleaseList, method="GET")
FIND_RELEASE = own("registry", "find_release", FindRelease, FoundRelease, method="GET")
DECLARE_ENVIRONMENTS = own("registry", "declare_environments", DeclareEnvironments, Empty)
SET_ALIAS = own("registry", "set_alias", SetAlias, Empty)
DELETE_ALIAS = own("registry", "delete_alias", DeleteAlias, Empty)
LIST_ALIASES = own("registry", "list_aliases", OneModel, AliasMap, method="GET")
ALIAS_HISTORY = own("registry", "alias_history", ListAliasChanges, AliasHistory, method="GET")
SET_TAG = own("registry", "set_tag", SetTag, Empty)
SET_DESCRIPTION = own("registry", "set_description", SetDescription, Empty)
APPROVE = own("registry", "approve", ApprovalMessage, ApprovalMessage)
LIST_APPROVALS = own("registry", "list_approvals", ListApprovals, ApprovalList, method="GET")
