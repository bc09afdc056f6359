"""MLflow's experiments."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sqlalchemy import Connection, RowMapping

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import experiment_search, experiments
from lockgate.metadata.locations import absolute
from lockgate.server.artifacts.paths import PARTIAL_FOLDER
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import LISTING, contributor, viewer
from lockgate.server.numbers import experiment_number
from lockgate.server.subjects import of_experiment, of_experiment_name, of_experiment_rename, of_new_experiment
from lockgate.wire.mlflow import experiments as wire
from lockgate.wire.mlflow.artifacts import proxied_path
from lockgate.wire.operation import Empty


def create_experiment(ctx: Context, request: wire.CreateExperiment) -> wire.ExperimentId:
    _require_visible(request.artifact_location)
    with ctx.write() as tx:
        created = experiments.create_experiment(
            tx,
            request.name,
            artifact_location=absolute(request.artifact_location, Path.cwd()),
            tags={tag.key: tag.value for tag in request.tags},
        )
    return wire.ExperimentId(experiment_id=str(created))


def get_experiment(ctx: Context, request: wire.ExperimentId) -> wire.ExperimentMessage:
    with ctx.read() as connection:
        row = experiments.get_experiment(connection, experiment_number(request.experiment_id))
        return wire.ExperimentMessage(experiment=_experiments(connection, [row])[0])


def get_experiment_by_name(ctx: Context, request: wire.ExperimentName) -> wire.ExperimentMessage:
    if not request.experiment_name:
        raise InvalidInput("Missing value for required parameter 'experiment_name'.")
    with ctx.read() as connection:
        row = experiments.find_experiment(connection, request.experiment_name)
        if row is None:
            raise NotFound(f"Could not find experiment with name '{request.experiment_name}'.")
        return wire.ExperimentMessage(experiment=_experiments(connection, [row])[0])


def update_experiment(ctx: Context, request: wire.UpdateExperiment) -> Empty:
    with ctx.write() as tx:
        experiments.rename_experiment(tx, experiment_number(request.experiment_id), request.new_name)
    return Empty()


def delete_experiment(ctx: Context, request: wire.ExperimentId) -> Empty:
    with ctx.write() as tx:
        experiments.set_experiment_stage(tx, experiment_number(request.experiment_id), experiments.DELETED)
    return Empty()


def restore_experiment(ctx: Context, request: wire.ExperimentId) -> Empty:
    with ctx.write() as tx:
        experiments.set_experiment_stage(tx, experiment_number(request.experiment_id), experiments.ACTIVE)
    return Empty()


def set_experiment_tag(ctx: Context, request: wire.SetExperimentTag) -> Empty:
    with ctx.write() as tx:
        experiments.set_experiment_tag(tx, experiment_number(request.experiment_id), request.key, request.value)
    return Empty()


def delete_experiment_tag(ctx: Context, request: wire.DeleteExperimentTag) -> Empty:
    with ctx.write() as tx:
        experiments.delete_experiment_tag(tx, experiment_number(request.experiment_id), request.key)
    return Empty()


def search_experiments(ctx: Context, request: wire.SearchExperiments) -> wire.ExperimentPage:
    with ctx.read() as connection:
        page = experiment_search.search_experiments(
            connection,
            filter_=request.filter,
            order_by=request.order_by,
            view=request.view_type,
            max_results=request.max_results,
            page_token=request.page_token,
            seen=ctx.caller.seen,
        )
        return wire.ExperimentPage(experiments=_experiments(connection, page.rows), next_page_token=page.next_token)


def _require_visible(location: str) -> None:
    """Raises InvalidInput for the folder in which uploads grow: nothing could be stored there."""
    if PurePosixPath(proxied_path(location) or "").parts[:1] == (PARTIAL_FOLDER,):
        raise InvalidInput(
            f"'artifact_location' is {location!r}; the folder {PARTIAL_FOLDER!r} is kept for uploads that are not "
            "complete.",
            hint="choose another folder",
        )


def _experiments(connection: Connection, rows: Sequence[RowMapping]) -> tuple[wire.Experiment, ...]:
    tags = experiments.tags_of_experiments(connection, [row["experiment_id"] for row in rows])
    return tuple(
        wire.Experiment(
            experiment_id=str(row["experiment_id"]),
            name=row["name"],
            artifact_location=row["artifact_location"],
            lifecycle_stage=row["lifecycle_stage"],
            creation_time=row["created_at"],
            last_update_time=row["updated_at"],
            tags=wire.as_tags(tags.get(row["experiment_id"], ())),
            workspace=wire.WORKSPACE,
        )
        for row in rows
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.CREATE_EXPERIMENT, create_experiment, contributor(of_new_experiment)),
    Route(wire.GET_EXPERIMENT, get_experiment, viewer(of_experiment)),
    Route(wire.GET_EXPERIMENT_BY_NAME, get_experiment_by_name, viewer(of_experiment_name)),
    Route(wire.UPDATE_EXPERIMENT, update_experiment, contributor(of_experiment_rename)),
    Route(wire.DELETE_EXPERIMENT, delete_experiment, contributor(of_experiment)),
    Route(wire.RESTORE_EXPERIMENT, restore_experiment, contributor(of_experiment)),
    Route(wire.SET_EXPERIMENT_TAG, set_experiment_tag, contributor(of_experiment)),
    Route(wire.DELETE_EXPERIMENT_TAG, delete_experiment_tag, contributor(of_experiment)),
    Route(wire.SEARCH_EXPERIMENTS, search_experiments, LISTING),
    Route(wire.SEARCH_EXPERIMENTS_GET, search_experiments, LISTING),
)
