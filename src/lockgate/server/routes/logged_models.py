"""MLflow's logged models: what a run made, before anybody registers it."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping

from lockgate.errors import InvalidInput
from lockgate.ids import new_model_id, new_name
from lockgate.metadata import logged_model_search, logged_models
from lockgate.metadata.limits import MOST_ORDERS, require_unique
from lockgate.metadata.pages import LARGEST
from lockgate.metadata.points import ModelPoint
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import contributor, viewer
from lockgate.server.numbers import experiment_number
from lockgate.server.subjects import of_experiment, of_experiments, of_logged_model, of_run_id, of_source_run
from lockgate.wire.mlflow import logged_models as wire
from lockgate.wire.mlflow.experiments import Tag, as_tags
from lockgate.wire.mlflow.runs import Metric, number_out
from lockgate.wire.operation import Empty

_PAGE = 50  # where a client says 0
_MOST_EXPERIMENTS = 10_000
_MOST_DATASETS = 100


def create_logged_model(ctx: Context, request: wire.CreateLoggedModel) -> wire.LoggedModelMessage:
    model_id = new_model_id()
    require_unique([param.key for param in request.params])
    with ctx.write() as tx:
        logged_models.create_logged_model(
            tx,
            model_id,
            experiment_id=experiment_number(request.experiment_id),
            name=request.name or new_name(),
            model_type=request.model_type,
            source_run_id=request.source_run_id,
            params={param.key: param.value for param in request.params},
            tags={tag.key: tag.value for tag in request.tags},
        )
        return wire.LoggedModelMessage(model=_model(ctx, tx.connection, model_id))


def get_logged_model(ctx: Context, request: wire.GetLoggedModel) -> wire.LoggedModelMessage:
    with ctx.read() as connection:
        row = logged_models.get_logged_model(connection, request.model_id, allow_deleted=request.allow_deleted)
        return wire.LoggedModelMessage(model=_models(ctx, connection, [row])[0])


def finalize_logged_model(ctx: Context, request: wire.FinalizeLoggedModel) -> wire.LoggedModelMessage:
    with ctx.write() as tx:
        logged_models.finalize_logged_model(tx, request.model_id, request.status)
        return wire.LoggedModelMessage(model=_model(ctx, tx.connection, request.model_id))


def delete_logged_model(ctx: Context, request: wire.OneLoggedModel) -> Empty:
    with ctx.write() as tx:
        logged_models.delete_logged_model(tx, request.model_id)
    return Empty()


def log_model_params(ctx: Context, request: wire.LogModelParams) -> Empty:
    require_unique([param.key for param in request.params])
    with ctx.write(decision=False) as tx:
        values = {param.key: param.value for param in request.params}
        logged_models.log_logged_model_params(tx, request.model_id, values)
    return Empty()


def set_logged_model_tags(ctx: Context, request: wire.SetLoggedModelTags) -> Empty:
    with ctx.write(decision=False) as tx:
        logged_models.set_logged_model_tags(tx, request.model_id, {tag.key: tag.value for tag in request.tags})
    return Empty()


def delete_logged_model_tag(ctx: Context, request: wire.DeleteLoggedModelTag) -> Empty:
    with ctx.write(decision=False) as tx:
        logged_models.delete_logged_model_tag(tx, request.model_id, request.tag_key)
    return Empty()


def search_logged_models(ctx: Context, request: wire.SearchLoggedModels) -> wire.LoggedModelPage:
    for name, given, most in (
        ("experiment_ids", request.experiment_ids, _MOST_EXPERIMENTS),
        ("datasets", request.datasets, _MOST_DATASETS),
        ("order_by", request.order_by, MOST_ORDERS),
    ):
        if len(given) > most:
            raise InvalidInput(f"A search of logged models takes at most {most} {name}. Received {len(given)}.")
    with ctx.read() as connection:
        page = logged_model_search.search_logged_models(
            connection,
            experiment_ids=[experiment_number(text) for text in request.experiment_ids],
            filter_=request.filter,
            datasets=[(item.dataset_name, item.dataset_digest) for item in request.datasets],
            order_by=[
                logged_model_search.Order(item.field_name, item.ascending, item.dataset_name, item.dataset_digest)
                for item in request.order_by
            ],
            max_results=min(request.max_results or _PAGE, LARGEST),
            page_token=request.page_token,
        )
        return wire.LoggedModelPage(models=_models(ctx, connection, page.rows), next_page_token=page.next_token)


def list_run_models(ctx: Context, request: wire.RunModels) -> wire.LoggedModelPage:
    with ctx.read() as connection:
        rows = logged_models.models_of_run(connection, request.run_id, seen=ctx.caller.seen)
        return wire.LoggedModelPage(models=_models(ctx, connection, rows))


def _model(ctx: Context, connection: Connection, model_id: str) -> wire.LoggedModel:
    """Also one that is deleted: a script that still says something of it is answered as any other."""
    return _models(ctx, connection, [logged_models.get_logged_model(connection, model_id, allow_deleted=True)])[0]


def _models(ctx: Context, connection: Connection, rows: Sequence[RowMapping]) -> tuple[wire.LoggedModel, ...]:
    """Whole models with a fixed number of queries, however many there are.

    Of where they are registered, what the caller may see.
    """
    ids = [row["model_id"] for row in rows]
    tags = logged_models.logged_tags_of(connection, ids)
    params = logged_models.logged_params_of(connection, ids)
    measured = logged_models.logged_metrics_of(connection, ids)
    registered = logged_models.registrations_of(connection, ids, seen=ctx.caller.seen)
    return tuple(
        wire.LoggedModel(
            info=wire.LoggedModelInfo(
                model_id=row["model_id"],
                experiment_id=str(row["experiment_id"]),
                name=row["name"],
                creation_timestamp_ms=row["created_at"],
                last_updated_timestamp_ms=row["updated_at"],
                artifact_uri=row["artifact_uri"],
                status=row["status"],
                model_type=row["model_type"] or "",
                source_run_id=row["source_run_id"] or "",
                tags=_tags(tags.get(row["model_id"], ()), registered.get(row["model_id"], ())),
                registrations=tuple(
                    wire.Registration(name=name, version=str(version))
                    for name, version in registered.get(row["model_id"], ())
                ),
            ),
            data=wire.LoggedModelData(
                params=as_tags(params.get(row["model_id"], ())),
                metrics=tuple(_metric(run_id, item) for run_id, item in measured.get(row["model_id"], ())),
            ),
        )
        for row in rows
    )


def _tags(own: Sequence[tuple[str, str]], registered: Sequence[tuple[str, int]]) -> tuple[Tag, ...]:
    """MLflow tells by a tag where a model is registered. It is made here, so that it is true after a renaming too.

    MLflow's client sets it as well; that is not shown.
    """
    tags = {key: value for key, value in own if key != wire.REGISTERED_AS}
    if registered:
        versions = [{"name": name, "version": version} for name, version in registered]
        tags[wire.REGISTERED_AS] = json.dumps(versions)
    return as_tags(tags.items())


def _metric(run_id: str, item: ModelPoint) -> Metric:
    return Metric(
        key=item.point.key,
        value=number_out(item.point.value),
        timestamp=item.point.at,
        step=item.point.step,
        model_id=item.model_id,
        dataset_name=item.dataset_name or None,
        dataset_digest=item.dataset_digest or None,
        run_id=run_id,
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.CREATE_LOGGED_MODEL, create_logged_model, contributor(of_experiment, reads=of_source_run)),
    Route(wire.GET_LOGGED_MODEL, get_logged_model, viewer(of_logged_model)),
    Route(wire.FINALIZE_LOGGED_MODEL, finalize_logged_model, contributor(of_logged_model)),
    Route(wire.DELETE_LOGGED_MODEL, delete_logged_model, contributor(of_logged_model)),
    Route(wire.LOG_MODEL_PARAMS, log_model_params, contributor(of_logged_model)),
    Route(wire.SET_LOGGED_MODEL_TAGS, set_logged_model_tags, contributor(of_logged_model)),
    Route(wire.DELETE_LOGGED_MODEL_TAG, delete_logged_model_tag, contributor(of_logged_model)),
    Route(wire.SEARCH_LOGGED_MODELS, search_logged_models, viewer(of_experiments)),
    Route(wire.LIST_RUN_MODELS, list_run_models, viewer(of_run_id)),
)
