"""Registered models, their versions and aliases, as MLflow's clients know them. Version numbers travel as strings."""

from msgspec.structs import force_setattr

from lockgate.wire.mlflow.experiments import Tag, Text
from lockgate.wire.operation import Empty, Message, mlflow


class ModelVersion(Message, frozen=True, kw_only=True):
    """`current_stage`, `description`, `run_id` and `run_link` always travel: clients tell an empty text from none."""

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    user_id: str = ""
    current_stage: str
    description: str
    source: str
    run_id: str
    status: str
    tags: tuple[Tag, ...] = ()
    run_link: str
    aliases: tuple[str, ...] = ()
    model_id: str | None = None


class Alias(Message, frozen=True, kw_only=True):
    alias: str
    version: str


class RegisteredModel(Message, frozen=True, kw_only=True):
    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    user_id: str = ""
    description: str = ""
    latest_versions: tuple[ModelVersion, ...] = ()
    tags: tuple[Tag, ...] = ()
    aliases: tuple[Alias, ...] = ()


class RegisteredModelMessage(Message, frozen=True, kw_only=True):
    registered_model: RegisteredModel


class ModelName(Message, frozen=True, kw_only=True):
    """`%2F` in a name stands for `/`: MLflow's clients take `models:/team/churn@champion` apart at its slashes."""

    name: Text

    def __post_init__(self) -> None:
        if "%2" in self.name:
            force_setattr(self, "name", _with_slashes(self.name))


class CreateRegisteredModel(ModelName, frozen=True, kw_only=True):
    tags: tuple[Tag, ...] = ()
    description: str = ""


class RenameModel(ModelName, frozen=True, kw_only=True):
    """`%2F` stands for `/` in the new name as well."""

    new_name: Text

    def __post_init__(self) -> None:
        super().__post_init__()
        force_setattr(self, "new_name", _with_slashes(self.new_name))


class UpdateModel(ModelName, frozen=True, kw_only=True):
    description: str = ""


class Search(Message, frozen=True, kw_only=True):
    filter: str = ""
    max_results: int = 100
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class SearchVersions(Search, frozen=True, kw_only=True):
    max_results: int = 200_000


class ModelPage(Message, frozen=True, kw_only=True):
    registered_models: tuple[RegisteredModel, ...] = ()
    next_page_token: str = ""


class LatestVersions(ModelName, frozen=True, kw_only=True):
    stages: tuple[str, ...] = ()


class VersionList(Message, frozen=True, kw_only=True):
    model_versions: tuple[ModelVersion, ...] = ()


class VersionPage(Message, frozen=True, kw_only=True):
    model_versions: tuple[ModelVersion, ...] = ()
    next_page_token: str = ""


class CreateVersion(ModelName, frozen=True, kw_only=True):
    """`run_id` and `model_id` None: a copy takes them from the version it copies."""

    source: Text
    run_id: str | None = None
    tags: tuple[Tag, ...] = ()
    run_link: str = ""
    description: str = ""
    model_id: str | None = None


class OneModelVersion(ModelName, frozen=True, kw_only=True):
    version: Text


class VersionMessage(Message, frozen=True, kw_only=True):
    model_version: ModelVersion


class UpdateVersion(OneModelVersion, frozen=True, kw_only=True):
    description: str = ""


class TransitionStage(OneModelVersion, frozen=True, kw_only=True):
    stage: Text
    archive_existing_versions: bool = False


class DownloadUri(Message, frozen=True, kw_only=True):
    artifact_uri: str


class SetModelTag(ModelName, frozen=True, kw_only=True):
    key: Text
    value: str = ""


class DeleteModelTag(ModelName, frozen=True, kw_only=True):
    key: Text


class SetVersionTag(OneModelVersion, frozen=True, kw_only=True):
    key: Text
    value: str = ""


class DeleteVersionTag(OneModelVersion, frozen=True, kw_only=True):
    key: Text


class OneAlias(ModelName, frozen=True, kw_only=True):
    alias: Text


class SetModelAlias(OneAlias, frozen=True, kw_only=True):
    version: Text


def _with_slashes(name: str) -> str:
    return name.replace("%2F", "/").replace("%2f", "/")


CREATE_MODEL = mlflow("registered-models/create", "POST", CreateRegisteredModel, RegisteredModelMessage)
GET_MODEL = mlflow("registered-models/get", "GET", ModelName, RegisteredModelMessage)
RENAME_MODEL = mlflow("registered-models/rename", "POST", RenameModel, RegisteredModelMessage)
UPDATE_MODEL = mlflow("registered-models/update", "PATCH", UpdateModel, RegisteredModelMessage)
DELETE_MODEL = mlflow("registered-models/delete", "DELETE", ModelName, Empty)
SEARCH_MODELS = mlflow("registered-models/search", "GET", Search, ModelPage)
LATEST_VERSIONS = mlflow("registered-models/get-latest-versions", "POST", LatestVersions, VersionList)
LATEST_VERSIONS_GET = mlflow("registered-models/get-latest-versions", "GET", LatestVersions, VersionList)
SET_MODEL_TAG = mlflow("registered-models/set-tag", "POST", SetModelTag, Empty)
DELETE_MODEL_TAG = mlflow("registered-models/delete-tag", "DELETE", DeleteModelTag, Empty)
SET_MODEL_ALIAS = mlflow("registered-models/alias", "POST", SetModelAlias, Empty)
DELETE_MODEL_ALIAS = mlflow("registered-models/alias", "DELETE", OneAlias, Empty)
GET_VERSION_BY_ALIAS = mlflow("registered-models/alias", "GET", OneAlias, VersionMessage)
CREATE_VERSION = mlflow("model-versions/create", "POST", CreateVersion, VersionMessage)
GET_VERSION = mlflow("model-versions/get", "GET", OneModelVersion, VersionMessage)
UPDATE_VERSION = mlflow("model-versions/update", "PATCH", UpdateVersion, VersionMessage)
DELETE_VERSION = mlflow("model-versions/delete", "DELETE", OneModelVersion, Empty)
SEARCH_VERSIONS = mlflow("model-versions/search", "GET", SearchVersions, VersionPage)
VERSION_DOWNLOAD_URI = mlflow("model-versions/get-download-uri", "GET", OneModelVersion, DownloadUri)
TRANSITION_STAGE = mlflow("model-versions/transition-stage", "POST", TransitionStage, VersionMessage)
SET_VERSION_TAG = mlflow("model-versions/set-tag", "POST", SetVersionTag, Empty)
DELETE_VERSION_TAG = mlflow("model-versions/delete-tag", "DELETE", DeleteVersionTag, Empty)
