"""Logged models: model files that a run has made, before anybody registers them."""

from typing import Literal

from lockgate.wire.mlflow.experiments import Tag, Text
from lockgate.wire.mlflow.runs import Metric
from lockgate.wire.operation import Empty, Message, mlflow, own

REGISTERED_AS = "mlflow.modelVersions"  # MLflow's tag, which its server writes itself

LoggedModelStatus = Literal[
    "LOGGED_MODEL_STATUS_UNSPECIFIED", "LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"
]


class Registration(Message, frozen=True, kw_only=True):
    name: str
    version: str


class LoggedModelInfo(Message, frozen=True, kw_only=True):
    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: LoggedModelStatus
    model_type: str
    source_run_id: str
    tags: tuple[Tag, ...] = ()
    registrations: tuple[Registration, ...] = ()


class LoggedModelData(Message, frozen=True, kw_only=True):
    params: tuple[Tag, ...] = ()
    metrics: tuple[Metric, ...] = ()


class LoggedModel(Message, frozen=True, kw_only=True):
    info: LoggedModelInfo
    data: LoggedModelData = LoggedModelData()


class LoggedModelMessage(Message, frozen=True, kw_only=True):
    model: LoggedModel


class CreateLoggedModel(Message, frozen=True, kw_only=True):
    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: tuple[Tag, ...] = ()
    tags: tuple[Tag, ...] = ()


class OneLoggedModel(Message, frozen=True, kw_only=True):
    model_id: str


class GetLoggedModel(Message, frozen=True, kw_only=True):
    model_id: str
    allow_deleted: bool = False


class FinalizeLoggedModel(Message, frozen=True, kw_only=True):
    model_id: str
    status: LoggedModelStatus


class LogModelParams(Message, frozen=True, kw_only=True):
    model_id: str
    params: tuple[Tag, ...] = ()


class SetLoggedModelTags(Message, frozen=True, kw_only=True):
    model_id: str
    tags: tuple[Tag, ...] = ()


class DeleteLoggedModelTag(Message, frozen=True, kw_only=True):
    model_id: str
    tag_key: str


class OrderBy(Message, frozen=True, kw_only=True):
    field_name: str
    ascending: bool = True
    dataset_name: str | None = None
    dataset_digest: str | None = None


class DatasetFilter(Message, frozen=True, kw_only=True):
    dataset_name: Text
    dataset_digest: str | None = None


class SearchLoggedModels(Message, frozen=True, kw_only=True):
    experiment_ids: tuple[str, ...]
    filter: str = ""
    datasets: tuple[DatasetFilter, ...] = ()
    max_results: int = 50
    order_by: tuple[OrderBy, ...] = ()
    page_token: str = ""


class LoggedModelPage(Message, frozen=True, kw_only=True):
    models: tuple[LoggedModel, ...] = ()
    next_page_token: str = ""


class RunModels(Message, frozen=True, kw_only=True):
    """Lockgate's own question: the models that one run logged, newest first."""

    run_id: str


CREATE_LOGGED_MODEL = mlflow("logged-models", "POST", CreateLoggedModel, LoggedModelMessage)
FINALIZE_LOGGED_MODEL = mlflow("logged-models/{model_id}", "PATCH", FinalizeLoggedModel, LoggedModelMessage)
GET_LOGGED_MODEL = mlflow("logged-models/{model_id}", "GET", GetLoggedModel, LoggedModelMessage)
DELETE_LOGGED_MODEL = mlflow("logged-models/{model_id}", "DELETE", OneLoggedModel, Empty)
LOG_MODEL_PARAMS = mlflow("logged-models/{model_id}/params", "POST", LogModelParams, Empty)
SET_LOGGED_MODEL_TAGS = mlflow("logged-models/{model_id}/tags", "PATCH", SetLoggedModelTags, Empty)
DELETE_LOGGED_MODEL_TAG = mlflow("logged-models/{model_id}/tags/{tag_key}", "DELETE", DeleteLoggedModelTag, Empty)
SEARCH_LOGGED_MODELS = mlflow("logged-models/search", "POST", SearchLoggedModels, LoggedModelPage)
LIST_RUN_MODELS = own("tracking", "list_run_models", RunModels, LoggedModelPage, method="GET")
