"""MLflow's runs: their life, what is logged to them, and finding them again."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, RowMapping

from lockgate.errors import InvalidInput
from lockgate.ids import new_run_id
from lockgate.metadata import inputs, metrics, run_search, runs
from lockgate.metadata.database import Tx
from lockgate.metadata.pages import decode_offset, encode_offset
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.routes.experiments import experiment_number
from lockgate.wire.mlflow import runs as wire
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.operation import Empty

_MAX_PAGE = 50_000
_MODEL_HISTORY_TAG = "mlflow.log-model.history"


def create_run(ctx: Context, request: wire.CreateRun) -> wire.RunMessage:
    run_id = new_run_id()
    tags = {tag.key: tag.value for tag in request.tags}
    name = request.run_name or tags.get(runs.NAME_TAG) or f"run-{run_id[:8]}"
    with ctx.write() as tx:
        runs.create_run(
            tx,
            run_id,
            experiment_id=experiment_number(request.experiment_id),
            run_name=name,
            user_id=request.user_id or ctx.user,
            start_time=request.start_time if request.start_time is not None else tx.at,
            tags=tags,
        )
        return wire.RunMessage(run=_run(tx.connection, run_id))


def get_run(ctx: Context, request: wire.OfRun) -> wire.RunMessage:
    with ctx.read() as connection:
        return wire.RunMessage(run=_run(connection, request.id))


def update_run(ctx: Context, request: wire.UpdateRun) -> wire.UpdatedRun:
    with ctx.write() as tx:
        runs.update_run(tx, request.id, status=request.status, end_time=request.end_time, run_name=request.run_name)
        return wire.UpdatedRun(run_info=_info(runs.get_run(tx.connection, request.id)))


def delete_run(ctx: Context, request: wire.OfRun) -> Empty:
    with ctx.write() as tx:
        runs.set_run_stage(tx, request.id, deleted=True)
    return Empty()


def restore_run(ctx: Context, request: wire.OfRun) -> Empty:
    with ctx.write() as tx:
        runs.set_run_stage(tx, request.id, deleted=False)
    return Empty()


def log_metric(ctx: Context, request: wire.LogMetric) -> Empty:
    metric = wire.Metric(
        key=request.key,
        value=request.value,
        timestamp=request.timestamp,
        step=request.step,
        model_id=request.model_id,
        dataset_name=request.dataset_name,
        dataset_digest=request.dataset_digest,
    )
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        _log_metrics(tx, request.id, (metric,))
    return Empty()


def log_param(ctx: Context, request: wire.LogParam) -> Empty:
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        runs.log_params(tx, request.id, {request.key: request.value})
    return Empty()


def log_batch(ctx: Context, request: wire.LogBatch) -> Empty:
    """All of it or nothing."""
    params = _unique_params(request.params)
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        if params:
            runs.log_params(tx, request.id, params)
        _log_metrics(tx, request.id, request.metrics)
        runs.set_run_tags(tx, request.id, {tag.key: tag.value for tag in request.tags})
    return Empty()


def set_run_tag(ctx: Context, request: wire.SetRunTag) -> Empty:
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        runs.set_run_tags(tx, request.id, {request.key: request.value})
    return Empty()


def delete_run_tag(ctx: Context, request: wire.DeleteRunTag) -> Empty:
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        runs.delete_run_tag(tx, request.id, request.key)
    return Empty()


def log_inputs(ctx: Context, request: wire.LogInputs) -> Empty:
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        for item in request.datasets:
            d = item.dataset
            tags = {tag.key: tag.value for tag in item.tags}
            use = inputs.DatasetUse(d.name, d.digest, d.source_type, d.source, d.schema, d.profile, tags)
            inputs.log_dataset(tx, request.id, use)
        for model in request.models:
            inputs.log_run_model(tx, request.id, model.model_id, "input")
    return Empty()


def log_outputs(ctx: Context, request: wire.LogOutputs) -> Empty:
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        for model in request.models:
            inputs.log_run_model(tx, request.id, model.model_id, "output", step=model.step or 0)
    return Empty()


def log_run_model(ctx: Context, request: wire.LogRunModel) -> Empty:
    try:
        logged = msgspec.json.decode(request.model_json)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"model_json is not JSON: {error}.") from error
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        tags = dict(runs.tags_of(tx.connection, [request.id]).get(request.id, ()))
        known = msgspec.json.decode(tags.get(_MODEL_HISTORY_TAG, "[]"), type=list[msgspec.Raw])
        history = msgspec.json.encode([*known, logged]).decode()
        runs.set_run_tags(tx, request.id, {_MODEL_HISTORY_TAG: history})
    return Empty()


def search_runs(ctx: Context, request: wire.SearchRuns) -> wire.RunPage:
    if not 1 <= request.max_results <= _MAX_PAGE:
        raise InvalidInput(f"max_results is {request.max_results}, expected 1 to {_MAX_PAGE}.")
    with ctx.read() as connection:
        page = run_search.search_runs(
            connection,
            experiment_ids=[experiment_number(text) for text in request.experiment_ids],
            filter_=request.filter,
            order_by=request.order_by,
            view=request.run_view_type,
            max_results=request.max_results,
            page_token=request.page_token,
        )
        return wire.RunPage(runs=_runs(connection, page.rows), next_page_token=page.next_token)


def metric_history(ctx: Context, request: wire.MetricHistory) -> wire.MetricPage:
    offset = decode_offset(request.page_token)
    with ctx.read() as connection:
        runs.get_run(connection, request.id)
        limit = None if request.max_results is None else request.max_results + 1
        points = metrics.history(connection, request.id, request.metric_key, limit=limit, offset=offset)
    token = ""
    if request.max_results is not None and len(points) > request.max_results:
        points = points[: request.max_results]
        token = encode_offset(offset + request.max_results)
    return wire.MetricPage(metrics=tuple(_metric(point) for point in points), next_page_token=token)


def _log_metrics(tx: Tx, run_id: str, received: Sequence[wire.Metric]) -> None:
    points, model_points = [], []
    for item in received:
        point = metrics.Point(item.key, wire.number_in(item.value, item.key), item.timestamp, item.step or 0)
        points.append(point)
        if item.model_id:
            measured = metrics.ModelPoint(item.model_id, point, item.dataset_name or "", item.dataset_digest or "")
            model_points.append(measured)
    metrics.log_points(tx, run_id, points)
    metrics.log_model_points(tx, run_id, model_points)


def _unique_params(received: Sequence[Tag]) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in received:
        if found.setdefault(tag.key, tag.value) != tag.value:
            raise InvalidInput(f"the param {tag.key!r} is given twice with different values.")
    return found


def _run(connection: Connection, run_id: str) -> wire.Run:
    return _runs(connection, [runs.get_run(connection, run_id)])[0]


def _runs(connection: Connection, rows: Sequence[RowMapping]) -> tuple[wire.Run, ...]:
    """Whole runs with a fixed number of queries, however many there are."""
    ids = [row["run_id"] for row in rows]
    points = metrics.latest_of(connection, ids)
    params = runs.params_of(connection, ids)
    tags = runs.tags_of(connection, ids)
    uses = inputs.datasets_of(connection, ids)
    models = inputs.models_of(connection, ids)
    found = []
    for row in rows:
        i = row["run_id"]
        found.append(
            wire.Run(
                info=_info(row),
                data=wire.RunData(
                    metrics=tuple(_metric(point) for point in points.get(i, ())),
                    params=_tags(params.get(i, ())),
                    tags=_tags(tags.get(i, ())),
                ),
                inputs=wire.RunInputs(
                    dataset_inputs=tuple(_dataset(use) for use in uses.get(i, ())),
                    model_inputs=tuple(
                        wire.ModelInput(model_id=m) for way, m, _ in models.get(i, ()) if way == "input"
                    ),
                ),
                outputs=wire.RunOutputs(
                    model_outputs=tuple(
                        wire.ModelOutput(model_id=m, step=step) for way, m, step in models.get(i, ()) if way == "output"
                    )
                ),
            )
        )
    return tuple(found)


def _info(row: RowMapping) -> wire.RunInfo:
    return wire.RunInfo(
        run_id=row["run_id"],
        run_uuid=row["run_id"],
        run_name=row["run_name"],
        experiment_id=str(row["experiment_id"]),
        user_id=row["user_id"],
        status=row["status"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        artifact_uri=row["artifact_uri"],
        lifecycle_stage=row["lifecycle_stage"],
    )


def _metric(point: metrics.Point) -> wire.Metric:
    return wire.Metric(key=point.key, value=wire.number_out(point.value), timestamp=point.at, step=point.step)


def _tags(pairs: Sequence[tuple[str, str]]) -> tuple[Tag, ...]:
    return tuple(Tag(key=key, value=value) for key, value in pairs)


def _dataset(use: inputs.DatasetUse) -> wire.DatasetInput:
    dataset = wire.Dataset(
        name=use.name,
        digest=use.digest,
        source_type=use.source_type,
        source=use.source,
        schema=use.schema,
        profile=use.profile,
    )
    return wire.DatasetInput(dataset=dataset, tags=_tags(list(use.tags.items())))


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.CREATE_RUN, create_run),
    Route(wire.GET_RUN, get_run),
    Route(wire.UPDATE_RUN, update_run),
    Route(wire.DELETE_RUN, delete_run),
    Route(wire.RESTORE_RUN, restore_run),
    Route(wire.LOG_METRIC, log_metric),
    Route(wire.LOG_PARAM, log_param),
    Route(wire.LOG_BATCH, log_batch),
    Route(wire.SET_RUN_TAG, set_run_tag),
    Route(wire.DELETE_RUN_TAG, delete_run_tag),
    Route(wire.LOG_INPUTS, log_inputs),
    Route(wire.LOG_OUTPUTS, log_outputs),
    Route(wire.LOG_RUN_MODEL, log_run_model),
    Route(wire.SEARCH_RUNS, search_runs),
    Route(wire.METRIC_HISTORY, metric_history),
)
