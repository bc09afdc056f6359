"""What each kind of request is about: the models and experiments whose grants decide on it.

One function a kind, `(connection, request) -> names`; empty means the installation as a whole.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from lockgate.entities import Role
from lockgate.errors import NotFound
from lockgate.hashing import is_digest
from lockgate.metadata import subjects, windows
from lockgate.metadata.access import INSTALLATION
from lockgate.metadata.chosen import chosen_below
from lockgate.metadata.environments import environments_of, list_environments
from lockgate.project import CHAMPION
from lockgate.server.artifacts.paths import require_safe
from lockgate.server.needs import OneOf
from lockgate.server.numbers import experiment_number
from lockgate.server.recent import Steady
from lockgate.server.sources import copied_model
from lockgate.server.whose import experiments_at
from lockgate.wire import adoption, delivery, monitoring, registry
from lockgate.wire.mlflow import artifacts, experiments, logged_models, runs
from lockgate.wire.mlflow import registry as mlflow_registry

Names = tuple[str, ...]


# -- models -----------------------------------------------------------------------------------------------------------


def of_model(connection: Connection, request: Any) -> Names:  # one of the many requests with a `model`
    return (request.model,) if request.model else ()


def of_name(connection: Connection, request: Any) -> Names:  # one of the many of MLflow's registry
    return (request.name,)


def of_rename(connection: Connection, request: mlflow_registry.RenameModel) -> Names:
    """The new name as well: nobody may rename into what is not theirs."""
    return request.name, request.new_name


def of_source(connection: Connection, request: mlflow_registry.CreateVersion) -> Names:
    """What a version is made from, which its answer tells of: the copied model, or the logged model's experiment."""
    if copied := copied_model(request.source):
        return (copied,)
    return (subjects.experiment_of_logged_model(connection, request.model_id),) if request.model_id else ()


def of_release(connection: Connection, request: registry.ReleaseMessage) -> Names:
    return (request.release.model,)


def of_approval(connection: Connection, request: registry.ApprovalMessage) -> Names:
    return (request.approval.model,)


def of_rollout(connection: Connection, request: delivery.CreateRollout) -> Names:
    return (request.rollout.model,)


def of_move(connection: Connection, request: delivery.AdvanceRollout) -> Names:
    """The stored rollout's model, whatever the request says, and that of the traffic."""
    stored = subjects.model_of_rollout(connection, request.rollout.rollout_id)
    traffic = () if request.traffic is None else (request.traffic.model,)
    return stored, request.rollout.model, *traffic


def of_rollout_id(connection: Connection, request: delivery.OneRollout) -> Names:
    return (subjects.model_of_rollout(connection, request.rollout_id),)


def of_window(connection: Connection, request: monitoring.WindowMessage) -> Names:
    """The stored window's model as well, whatever the request says: its record is the answer."""
    return request.window.model, *subjects.models_of_window(connection, request.window.window_id)


def of_alert(connection: Connection, request: monitoring.OpenAlert) -> Names:
    return (request.alert.model,)


def of_alert_id(connection: Connection, request: monitoring.MarkNotified) -> Names:
    return (subjects.model_of_alert(connection, request.alert_id),)


def role_to_move_alias(connection: Connection, request: Any) -> Role:  # ours and MLflow's, with `model` or `name`
    """An alias that stands for an environment is a deployment: what follows `@production` must not bypass approvals."""
    model = getattr(request, "model", None) or request.name
    alias = request.alias.lower()  # as `metadata.admission` takes it
    if alias == CHAMPION:
        is_deployment = bool(list_environments(connection, model)) or subjects.has_rollouts(connection, model)
    else:
        known = [item.name.lower() for item in environments_of(connection, model)]
        is_deployment = alias in known or subjects.has_rollouts(connection, model, request.alias)
    return "approver" if is_deployment else "contributor"


# -- experiments, and the runs in them --------------------------------------------------------------------------------


def of_experiment(connection: Connection, request: Any) -> Names:  # one of the many with an `experiment_id`
    return subjects.experiments_named(connection, [experiment_number(request.experiment_id)])


def of_experiments(connection: Connection, request: Any) -> Names:  # a search of runs or of logged models
    return subjects.experiments_named(connection, [experiment_number(text) for text in request.experiment_ids])


def of_experiment_name(connection: Connection, request: experiments.ExperimentName) -> Names:
    return (request.experiment_name,)


def of_new_experiment(connection: Connection, request: experiments.CreateExperiment) -> Names:
    """Where files are kept is the installation's business: a location could be another experiment's folder."""
    return () if request.artifact_location else (request.name,)


def of_begun_run(connection: Connection, request: adoption.BeginRun) -> Names:
    """A run that is there is its experiment's, whatever that is called by now."""
    try:
        return (subjects.experiment_of_run(connection, request.run_id),)
    except NotFound:
        return (request.experiment,)


def of_experiment_rename(connection: Connection, request: experiments.UpdateExperiment) -> Names:
    new = (request.new_name,) if request.new_name else ()
    return *of_experiment(connection, request), *new


def _of_run(connection: Connection, request: runs.OfRun) -> Names:
    return (subjects.experiment_of_run(connection, request.id),)


of_run = Steady(_of_run, key=lambda request: request.id)


def of_runs(connection: Connection, request: runs.Histories | runs.SampledHistories) -> Names:
    """Of runs that are not there nothing is shown; their absence is the handler's to say."""
    return subjects.experiments_of_runs(connection, request.run_ids)


def of_run_id(connection: Connection, request: logged_models.RunModels) -> Names:
    return (subjects.experiment_of_run(connection, request.run_id),)


def _of_metrics(connection: Connection, request: runs.LogMetric | runs.LogBatch) -> Names:
    """The run, and every logged model that a metric is said of."""
    models = (subjects.experiment_of_logged_model(connection, model_id) for model_id in _measured_models(request))
    return subjects.experiment_of_run(connection, request.id), *models


def _measured_models(request: runs.LogMetric | runs.LogBatch) -> list[str]:
    measured = request.metrics if isinstance(request, runs.LogBatch) else (request,)
    return sorted({metric.model_id for metric in measured if metric.model_id})


of_metrics = Steady(_of_metrics, key=lambda request: None if _measured_models(request) else request.id)


def of_source_run(connection: Connection, request: logged_models.CreateLoggedModel) -> Names:
    """Among its run's models a new one is listed. A run need not be there, as MLflow has it."""
    return subjects.experiments_of_runs(connection, [request.source_run_id]) if request.source_run_id else ()


def of_logged_model(connection: Connection, request: Any) -> Names:  # one of the many with a `model_id`
    return (subjects.experiment_of_logged_model(connection, request.model_id),)


# -- files ------------------------------------------------------------------------------------------------------------


def _of_listing(connection: Connection, request: artifacts.ListProxy) -> Names:
    return _of_path(connection, request.folder)


def _of_artifact(connection: Connection, request: Any) -> Names:  # one of those with an `artifact_path`
    return _of_path(connection, request.artifact_path)


def of_direct_upload(connection: Connection, request: artifacts.PresignUpload) -> Names:
    """Of neither or both, nothing is uploaded; that is the handler's to say."""
    of_runs_files = (subjects.experiment_of_run(connection, request.run_id),) if request.run_id else ()
    if not request.model_id:
        return of_runs_files
    return *of_runs_files, subjects.experiment_of_logged_model(connection, request.model_id)


def _of_file(connection: Connection, path_params: Mapping[str, str]) -> Names:
    return _of_path(connection, path_params["path"])


def of_deleted_artifact(connection: Connection, request: artifacts.OneArtifact) -> Names:
    """A folder goes with those in it: everybody's whose it is."""
    names = _of_path(connection, request.artifact_path) or (INSTALLATION,)
    return *names, *chosen_below(connection, require_safe(request.artifact_path).parts)


# Several models may have released the same content.
of_listing, of_artifact, of_file = OneOf(_of_listing), OneOf(_of_artifact), OneOf(_of_file)


def of_page(connection: Connection, path_params: Mapping[str, Any]) -> Names:  # Starlette converts some of them
    return (path_params["model"],)


def of_window_page(connection: Connection, path_params: Mapping[str, Any]) -> Names:
    return (subjects.Found(windows.get_window(connection, path_params["window_id"]).model),)


def _of_path(connection: Connection, path: str) -> Names:
    """Runs keep their files below their experiment's folder, released content lies below its digest."""
    steps = require_safe(path).parts
    first, second, *_ = *steps, "", ""
    if first == artifacts.CONTENT_FOLDER:
        return subjects.models_with_content(connection, second) if is_digest(second) else ()
    return experiments_at(connection, steps)
