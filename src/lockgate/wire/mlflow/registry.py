"""Registered models, their versions and aliases, as MLflow's clients know them. Version numbers travel as strings."""

from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.operation import Empty, Message, mlflow


class ModelVersion(Message, frozen=True, kw_only=True):
    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    user_id: str = ""
    current_stage: str = "None"
    description: str = ""
    source: str
    run_id: str = ""
    status: str
    tags: tuple[Tag, ...] = ()
    run_link: str = ""
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


class CreateRegisteredModel(Message, frozen=True, kw_only=True):
    name: str
    tags: tuple[Tag, ...] = ()
    description: str = ""


class ModelName(Message, frozen=True, kw_only=True):
    name: str


class RenameModel(Message, frozen=True, kw_only=True):
    name: str
    new_name: str


class UpdateModel(Message, frozen=True, kw_only=True):
    name: str
    description: str = ""


class Search(Message, frozen=True, kw_only=True):
    filter: str = ""
    max_results: int = 100
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class SearchVersions(Search, frozen=True, kw_only=True):
    max_results: int = 10_000


class ModelPage(Message, frozen=True, kw_only=True):
    registered_models: tuple[RegisteredModel, ...] = ()
    next_page_token: str = ""


class LatestVersions(Message, frozen=True, kw_only=True):
    name: str
    stages: tuple[str, ...] = ()


class VersionList(Message, frozen=True, kw_only=True):
    model_versions: tuple[ModelVersion, ...] = ()


class VersionPage(Message, frozen=True, kw_only=True):
    model_versions: tuple[ModelVersion, ...] = ()
    next_page_token: str = ""


class CreateVersion(Message, frozen=True, kw_only=True):
    name: str
    source: str
    run_id: str = ""
    tags: tuple[Tag, ...] = ()
    run_link: str = ""
    description: str = ""
    model_id: str = ""


class OneModelVersion(Message, frozen=True, kw_only=True):
    name: str
    version: str


class VersionMessage(Message, frozen=True, kw_only=True):
    model_version: ModelVersion


class UpdateVersion(Message, frozen=True, kw_only=True):
    name: str
    version: str
    description: str = ""


class TransitionStage(Message, frozen=True, kw_only=True):
    name: str
    version: str
    stage: str
    archive_existing_versions: bool = False


class DownloadUri(Message, frozen=True, kw_only=True):
    artifact_uri: str


class SetModelTag(Message, frozen=True, kw_only=True):
    name: str
    key: str
    value: str = ""


class DeleteModelTag(Message, frozen=True, kw_only=True):
    name: str
    key: str


class SetVersionTag(Message, frozen=True, kw_only=True):
    name: str
    version: str
    key: str
    value: str = ""


class DeleteVersionTag(Message, frozen=True, kw_only=True):
    name: str
    version: str
    key: str


class SetModelAlias(Message, frozen=True, kw_only=True):
    name: str
    alias: str
    version: str


class OneAlias(Message, frozen=True, kw_only=True):
    name: str
    alias: str


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
