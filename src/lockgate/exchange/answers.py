"""MLflow's operations as its own servers answer them: they leave out what Lockgate always writes.

Each operation here is the one of `wire`, with an answer in which every field that a server of any age may leave out has
a default.
"""

from typing import Any

from lockgate.wire.mlflow import artifacts, experiments, logged_models, registry, runs
from lockgate.wire.operation import Empty, Message, Operation, Req, Res


class _Experiment(experiments.Experiment, frozen=True, kw_only=True):
    artifact_location: str = ""
    lifecycle_stage: str = "active"
    creation_time: int = 0
    last_update_time: int = 0
    workspace: str = ""


class _ExperimentMessage(Message, frozen=True, kw_only=True):
    experiment: _Experiment


class _ExperimentPage(experiments.ExperimentPage, frozen=True, kw_only=True):
    experiments: tuple[_Experiment, ...] = ()


class _RunInfo(runs.RunInfo, frozen=True, kw_only=True):
    run_uuid: str = ""
    run_name: str = ""
    user_id: str = ""
    start_time: int = 0
    artifact_uri: str = ""


class _Run(runs.Run, frozen=True, kw_only=True):
    info: _RunInfo
    data: runs.RunData = runs.RunData()


class _RunMessage(runs.RunMessage, frozen=True, kw_only=True):
    run: _Run


class _RunPage(runs.RunPage, frozen=True, kw_only=True):
    runs: tuple[_Run, ...] = ()


class _ModelInfo(logged_models.LoggedModelInfo, frozen=True, kw_only=True):
    name: str = ""
    creation_timestamp_ms: int = 0
    last_updated_timestamp_ms: int = 0
    artifact_uri: str = ""
    model_type: str = ""
    source_run_id: str = ""


class _LoggedModel(logged_models.LoggedModel, frozen=True, kw_only=True):
    info: _ModelInfo


class _LoggedModelMessage(logged_models.LoggedModelMessage, frozen=True, kw_only=True):
    model: _LoggedModel


class _LoggedModelPage(logged_models.LoggedModelPage, frozen=True, kw_only=True):
    models: tuple[_LoggedModel, ...] = ()


class _Version(registry.ModelVersion, frozen=True, kw_only=True):
    creation_timestamp: int = 0
    last_updated_timestamp: int = 0
    current_stage: str = "None"
    description: str = ""
    source: str = ""
    run_id: str = ""
    status: str = "READY"
    run_link: str = ""


class _VersionMessage(registry.VersionMessage, frozen=True, kw_only=True):
    model_version: _Version


class _VersionPage(registry.VersionPage, frozen=True, kw_only=True):
    model_versions: tuple[_Version, ...] = ()


class _RegisteredModel(registry.RegisteredModel, frozen=True, kw_only=True):
    creation_timestamp: int = 0
    last_updated_timestamp: int = 0
    latest_versions: tuple[_Version, ...] = ()


class _RegisteredModelMessage(registry.RegisteredModelMessage, frozen=True, kw_only=True):
    registered_model: _RegisteredModel


class _ModelPage(registry.ModelPage, frozen=True, kw_only=True):
    registered_models: tuple[_RegisteredModel, ...] = ()


class _Files(artifacts.ProxyFiles, frozen=True, kw_only=True):
    files: tuple[artifacts.FileInfo, ...] = ()


class _RunFiles(artifacts.RunArtifacts, frozen=True, kw_only=True):
    root_uri: str = ""


def _answered(operation: Operation[Req, Any], response: type[Res]) -> Operation[Req, Res]:
    return Operation(operation.name, operation.method, operation.path, operation.request, response)


GET_EXPERIMENT_BY_NAME = _answered(experiments.GET_EXPERIMENT_BY_NAME, _ExperimentMessage)
SEARCH_EXPERIMENTS = _answered(experiments.SEARCH_EXPERIMENTS, _ExperimentPage)
SEARCH_RUNS = _answered(runs.SEARCH_RUNS, _RunPage)
CREATE_RUN = _answered(runs.CREATE_RUN, _RunMessage)
UPDATE_RUN = _answered(runs.UPDATE_RUN, Empty)
CREATE_LOGGED_MODEL = _answered(logged_models.CREATE_LOGGED_MODEL, _LoggedModelMessage)
FINALIZE_LOGGED_MODEL = _answered(logged_models.FINALIZE_LOGGED_MODEL, Empty)
SEARCH_LOGGED_MODELS = _answered(logged_models.SEARCH_LOGGED_MODELS, _LoggedModelPage)
SEARCH_MODELS = _answered(registry.SEARCH_MODELS, _ModelPage)
CREATE_MODEL = _answered(registry.CREATE_MODEL, Empty)
RENAME_MODEL = _answered(registry.RENAME_MODEL, Empty)
UPDATE_MODEL = _answered(registry.UPDATE_MODEL, Empty)
SEARCH_VERSIONS = _answered(registry.SEARCH_VERSIONS, _VersionPage)
CREATE_VERSION = _answered(registry.CREATE_VERSION, _VersionMessage)
UPDATE_VERSION = _answered(registry.UPDATE_VERSION, Empty)
TRANSITION_STAGE = _answered(registry.TRANSITION_STAGE, Empty)
LIST_FILES = _answered(artifacts.LIST_PROXY, _Files)
LIST_RUN_FILES = _answered(artifacts.LIST_ARTIFACTS, _RunFiles)
GET_RUN = _answered(runs.GET_RUN, _RunMessage)
GET_LOGGED_MODEL = _answered(logged_models.GET_LOGGED_MODEL, _LoggedModelMessage)
GET_MODEL = _answered(registry.GET_MODEL, _RegisteredModelMessage)
