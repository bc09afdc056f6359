"""MLflow's runs: their life, what is logged to them, and finding them again."""

import json
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection

from lockgate.errors import InvalidInput
from lockgate.ids import new_name, new_run_id
from lockgate.metadata import inputs, metrics, run_search, runs
from lockgate.metadata.limits import require_batch, require_run_id, require_text, require_unique
from lockgate.metadata.pages import LARGEST
from lockgate.metadata.points import ModelPoint, Point, log_model_points, log_points
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import contributor, viewer
from lockgate.server.numbers import experiment_number
from lockgate.server.subjects import of_experiment, of_experiments, of_metrics, of_run, of_runs
from lockgate.wire.mlflow import runs as wire
from lockgate.wire.mlflow.experiments import as_tags
from lockgate.wire.operation import TAG_LENGTH, Empty

_LOW, _HIGH = -math.inf, math.inf
_RUNS_A_PART = 100
_POINTS_A_PART = 10_000
_MOST_VALUES = 25_000
_MOST_SAMPLED = 2500
_MOST_RUNS = 100
_MOST_EXPERIMENTS = 20
_MODEL_HISTORY_TAG = "mlflow.log-model.history"


def create_run(ctx: Context, request: wire.CreateRun) -> wire.RunMessage:
    run_id = new_run_id()
    tags = {tag.key: tag.value for tag in request.tags}
    tagged = tags.get(runs.NAME_TAG)
    if request.run_name and tagged and request.run_name != tagged:
        raise InvalidInput(
            f"Both 'run_name' argument and '{runs.NAME_TAG}' tag are specified, but with different values: "
            f"{request.run_name!r} and {tagged!r}."
        )
    name = request.run_name or tagged or new_name()
    with ctx.write() as tx:
        row = runs.create_run(
            tx,
            run_id,
            experiment_id=experiment_number(request.experiment_id),
            run_name=name,
            user_id=request.user_id or ctx.user,
            start_time=request.start_time if request.start_time is not None else tx.at,
            tags=tags,
        )
    named = sorted({**tags, runs.NAME_TAG: row["run_name"]}.items())
    run = wire.Run(info=_info(row), data=wire.RunData(tags=as_tags(named)), inputs=wire.RunInputs())
    return wire.RunMessage(run=run)


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
    points, of_models = _points((request,))
    with ctx.write(decision=False, is_single=not of_models) as tx:
        log_points(tx, request.id, points)
        log_model_points(tx, request.id, of_models)
    return Empty()


def log_param(ctx: Context, request: wire.LogParam) -> Empty:
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        runs.log_params(tx, request.id, {request.key: request.value})
    return Empty()


def log_batch(ctx: Context, request: wire.LogBatch) -> Empty:
    """All of it or nothing."""
    require_run_id(request.id)
    require_batch(request.metrics, request.params, request.tags)
    require_unique([param.key for param in request.params])
    params = {param.key: param.value for param in request.params}
    points, of_models = _points(request.metrics)
    is_single = bool(points) and not (params or request.tags or of_models)
    with ctx.write(decision=False, is_single=is_single) as tx:
        if points:
            log_points(tx, request.id, points)
            log_model_points(tx, request.id, of_models)
        else:
            runs.require_active_run(tx.connection, request.id)
        if params:
            runs.log_params(tx, request.id, params)
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
    require_run_id(request.id)
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        inputs.log_datasets(tx, request.id, [_dataset_use(item) for item in request.datasets])
        inputs.log_run_models(tx, request.id, [(model.model_id, 0) for model in request.models], "input")
    return Empty()


def log_outputs(ctx: Context, request: wire.LogOutputs) -> Empty:
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        made = [(model.model_id, model.step or 0) for model in request.models]
        inputs.log_run_models(tx, request.id, made, "output")
    return Empty()


def log_run_model(ctx: Context, request: wire.LogRunModel) -> Empty:
    described = _described_model(request.model_json)
    with ctx.write(decision=False) as tx:
        runs.require_active_run(tx.connection, request.id)
        runs.hold_run(tx, request.id)
        tags = dict(runs.tags_of(tx.connection, [request.id]).get(request.id, ()))
        try:
            known = msgspec.json.decode(tags.get(_MODEL_HISTORY_TAG, "[]"), type=list[object])
            history = json.dumps([*known, described])
        except (msgspec.DecodeError, RecursionError) as error:  # anybody may set the tag
            raise InvalidInput(f"the tag {_MODEL_HISTORY_TAG} of this run is no list in JSON: {error}.") from error
        require_text(history, TAG_LENGTH, _MODEL_HISTORY_TAG)  # half a JSON text would be no JSON text
        runs.set_run_tags(tx, request.id, {_MODEL_HISTORY_TAG: history})
    return Empty()


def search_runs(ctx: Context, request: wire.SearchRuns) -> wire.RunPage:
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
        found = [row["run_id"] for row in page.rows]
        whole = ctx.in_parts(found, _RUNS_A_PART, lambda ids: _runs(connection, runs.runs_of(connection, ids)))
        return wire.RunPage(runs=whole, next_page_token=page.next_token)


def metric_history(ctx: Context, request: wire.MetricHistory) -> wire.MetricPage:
    key, size = request.metric_key, request.max_results
    if not key:
        raise InvalidInput("Missing value for required parameter 'metric_key'.")
    with ctx.read() as connection:
        if size is None and not request.page_token:
            values = metrics.history(connection, request.id, key)
            return wire.MetricPage(metrics=ctx.in_parts(values, _POINTS_A_PART, partial(_series, key)))
        page = metrics.history_page(
            connection, request.id, key, max_results=LARGEST if size is None else size, page_token=request.page_token
        )
    return wire.MetricPage(metrics=_series(key, page.found), next_page_token=page.next_token)


def metric_histories(ctx: Context, request: wire.Histories) -> wire.MetricsOfRuns:
    if not request.run_ids:
        raise InvalidInput("GetMetricHistoryBulk request must specify at least one run_id.")
    _require_few_runs(request.run_ids)
    if request.metric_key is None:
        raise InvalidInput("GetMetricHistoryBulk request must specify a metric_key.")
    key, limit = request.metric_key, min(request.max_results, _MOST_VALUES)
    with ctx.read() as connection:
        found = metrics.histories(connection, request.run_ids, key, limit=max(limit, 0))
    return wire.MetricsOfRuns(metrics=tuple([_metric(key, *row[1:], run_id=row[0]) for row in found]))


def sampled_histories(ctx: Context, request: wire.SampledHistories) -> wire.MetricPage:
    for name, given in (("run_ids", request.run_ids), ("metric_key", request.metric_key)):
        if not given:
            raise InvalidInput(f"Missing value for required parameter '{name}'.")
    _require_few_runs(request.run_ids)
    if not 1 <= request.max_results <= _MOST_SAMPLED:
        raise InvalidInput(f"max_results must be between 1 and {_MOST_SAMPLED}.")
    key, size, steps = request.metric_key, request.max_results, _interval(request)
    with ctx.read() as connection:

        def sample(run_ids: Sequence[str]) -> list[wire.Metric]:
            return [
                _metric(key, *value, run_id=run_id)
                for run_id in run_ids
                for value in metrics.sample_history(connection, run_id, key, size=size, steps=steps)
            ]

        return wire.MetricPage(metrics=ctx.in_parts(request.run_ids, 1, sample))


def search_datasets(ctx: Context, request: wire.SearchDatasets) -> wire.DatasetSummaries:
    ids = [experiment_number(text) for text in request.experiment_ids]
    if not 1 <= len(ids) <= _MOST_EXPERIMENTS:
        raise InvalidInput(f"SearchDatasets takes 1 to {_MOST_EXPERIMENTS} experiment_ids. Received {len(ids)}.")
    with ctx.read() as connection:
        found = inputs.summaries_of(connection, ids)
    return wire.DatasetSummaries(
        dataset_summaries=tuple(
            wire.DatasetSummary(experiment_id=str(number), name=name, digest=digest, context=context or None)
            for number, name, digest, context in found
        )
    )


def _described_model(text: str) -> dict[str, object]:
    """What of an MLmodel becomes a tag. Raises InvalidInput for what is no description of a model."""
    try:
        model = msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"Malformed model info: model_json is not a JSON object: {error}.") from error
    missing = sorted({"artifact_path", "flavors", "utc_time_created", "run_id"} - model.keys())
    if missing:
        raise InvalidInput(f"Model json is missing mandatory fields: {', '.join(missing)}.")
    kept = ("run_id", "artifact_path", "utc_time_created", "model_uuid", "flavors")
    return {name: model[name] for name in kept if name in model}


def _require_few_runs(run_ids: Sequence[str]) -> None:
    if len(run_ids) > _MOST_RUNS:
        raise InvalidInput(f"A request for histories names at most {_MOST_RUNS} runs. Received {len(run_ids)}.")


def _interval(request: wire.SampledHistories) -> tuple[int, int] | None:
    start, end = request.start_step, request.end_step
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise InvalidInput("If either start step or end step are specified, both must be specified.")
    if start > end:
        raise InvalidInput(f"end_step must be greater than start_step. Found start_step={start} and end_step={end}.")
    return start, end


def _dataset_use(item: wire.DatasetInput) -> inputs.DatasetUse:
    d = item.dataset
    tags = {tag.key: tag.value for tag in item.tags}
    return inputs.DatasetUse(d.name, d.digest, d.source_type, d.source, d.schema, d.profile, tags)


def _points(
    received: Sequence[wire.Metric | wire.LogMetric],
) -> tuple[list[tuple[str, float, int, int]], list[ModelPoint]]:
    """For `log_points`, and for `log_model_points` those of them that were measured of a logged model."""
    points = []
    of_models = []
    for item in received:
        value = item.value
        point = (
            item.key,
            value if type(value) is float else wire.number_in(value, item.key),
            item.timestamp,
            item.step or 0,
        )
        points.append(point)
        # Most have neither, which one look tells.
        if item.dataset_name is not item.dataset_digest and bool(item.dataset_name) != bool(item.dataset_digest):
            raise InvalidInput("Both dataset_name and dataset_digest must be provided if one is provided")
        if item.model_id:
            named = Point(*point)
            of_models.append(ModelPoint(item.model_id, named, item.dataset_name or "", item.dataset_digest or ""))
    return points, of_models


def _run(connection: Connection, run_id: str) -> wire.Run:
    return _runs(connection, [runs.get_run(connection, run_id)])[0]


def _runs(connection: Connection, rows: Sequence[dict[str, Any]]) -> tuple[wire.Run, ...]:
    """Whole runs with a fixed number of queries, however many there are."""
    ids = [row["run_id"] for row in rows]
    points: dict[str, list[wire.Metric]] = {}
    for run_id, key, value, is_nan, at, step in metrics.latest_of(connection, ids):
        points.setdefault(run_id, []).append(_metric(key, at, step, value, is_nan))
    params = runs.params_of(connection, ids)
    tags = runs.tags_of(connection, ids)
    uses = inputs.datasets_of(connection, ids)
    models = inputs.models_of(connection, ids)
    return tuple(
        wire.Run(
            info=_info(row),
            data=wire.RunData(
                metrics=tuple(points.get(i, ())), params=as_tags(params.get(i, ())), tags=as_tags(tags.get(i, ()))
            ),
            inputs=wire.RunInputs(
                dataset_inputs=tuple(_dataset(use) for use in uses.get(i, ())),
                model_inputs=tuple(wire.ModelInput(model_id=m) for way, m, _ in models.get(i, ()) if way == "input"),
            ),
            outputs=wire.RunOutputs(
                model_outputs=tuple(
                    wire.ModelOutput(model_id=m, step=step) for way, m, step in models.get(i, ()) if way == "output"
                )
            ),
        )
        for i, row in zip(ids, rows, strict=True)
    )


def _info(row: dict[str, Any]) -> wire.RunInfo:
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


def _series(key: str, found: Sequence[metrics.Found]) -> tuple[wire.Metric, ...]:
    return tuple(
        [  # a call for each would take twice as long
            wire.Metric(key=key, value=value, timestamp=at, step=step)
            if _LOW < value < _HIGH and not is_nan
            else _metric(key, at, step, value, is_nan)
            for at, step, value, is_nan in found
        ]
    )


def _metric(key: str, at: int, step: int, value: float, is_nan: int, *, run_id: str | None = None) -> wire.Metric:
    is_number = _LOW < value < _HIGH and not is_nan
    shown = value if is_number else wire.number_out(math.nan if is_nan else value)
    return wire.Metric(key=key, value=shown, timestamp=at, step=step, run_id=run_id)


def _dataset(use: inputs.DatasetUse) -> wire.DatasetInput:
    dataset = wire.Dataset(
        name=use.name,
        digest=use.digest,
        source_type=use.source_type,
        source=use.source,
        schema=use.schema,
        profile=use.profile,
    )
    return wire.DatasetInput(dataset=dataset, tags=as_tags(use.tags.items()))


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.CREATE_RUN, create_run, contributor(of_experiment)),
    Route(wire.GET_RUN, get_run, viewer(of_run)),
    Route(wire.UPDATE_RUN, update_run, contributor(of_run)),
    Route(wire.DELETE_RUN, delete_run, contributor(of_run)),
    Route(wire.RESTORE_RUN, restore_run, contributor(of_run)),
    Route(wire.LOG_METRIC, log_metric, contributor(of_metrics), is_brief=True),
    Route(wire.LOG_PARAM, log_param, contributor(of_run), is_brief=True),
    Route(wire.LOG_BATCH, log_batch, contributor(of_metrics), is_brief=True),
    Route(wire.SET_RUN_TAG, set_run_tag, contributor(of_run), is_brief=True),
    Route(wire.DELETE_RUN_TAG, delete_run_tag, contributor(of_run), is_brief=True),
    Route(wire.LOG_INPUTS, log_inputs, contributor(of_run)),
    Route(wire.LOG_OUTPUTS, log_outputs, contributor(of_run)),
    Route(wire.LOG_RUN_MODEL, log_run_model, contributor(of_run)),
    Route(wire.SEARCH_RUNS, search_runs, viewer(of_experiments)),
    Route(wire.METRIC_HISTORY, metric_history, viewer(of_run)),
    Route(wire.METRIC_HISTORIES, metric_histories, viewer(of_runs)),
    Route(wire.SAMPLED_HISTORIES, sampled_histories, viewer(of_runs)),
    Route(wire.SEARCH_DATASETS, search_datasets, viewer(of_experiments)),
    Route(wire.SEARCH_DATASETS_ODD, search_datasets, viewer(of_experiments)),
    Route(wire.SEARCH_DATASETS_ODD_UI, search_datasets, viewer(of_experiments)),
)
