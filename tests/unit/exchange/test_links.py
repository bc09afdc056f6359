"""Which runs have used, made and measured which logged models."""

from typing import Any

import pytest
from msgspec.structs import replace

from lockgate.errors import PermissionDenied, Unavailable
from lockgate.exchange import answers, marks
from lockgate.exchange.copy import Report
from lockgate.wire.mlflow import experiments, logged_models, runs

SOME = "café ☕"


def links(report: Report) -> tuple[int, int]:
    return next((count.source, count.target) for count in report.counts if count.what == "model links")


def copied_child(sides: Any) -> runs.Run:
    """Asked for by its id, as MLflow's servers tell everything only then."""
    call, name = sides.target.transport.call, experiments.ExperimentName(experiment_name=SOME)
    experiment = call(experiments.GET_EXPERIMENT_BY_NAME, name).experiment.experiment_id
    page = call(runs.SEARCH_RUNS, runs.SearchRuns(experiment_ids=(experiment,), run_view_type="ALL")).runs
    (child,) = [run for run in page if run.info.run_name == "child"]
    found: runs.Run = call(runs.GET_RUN, runs.OfRun(run_id=child.info.run_id)).run
    return found


def copied_links(sides: Any) -> tuple[set[str], set[str]]:
    """What was used and what was made, by the ids at the source."""
    child = copied_child(sides)
    assert child.outputs is not None

    def origin(model_id: str) -> str:
        request = logged_models.GetLoggedModel(model_id=model_id)
        tags = sides.target.transport.call(logged_models.GET_LOGGED_MODEL, request).model.info.tags
        return marks.origin_of(tags)

    used, made = child.inputs.model_inputs, child.outputs.model_outputs
    return {origin(one.model_id) for one in used}, {origin(one.model_id) for one in made}


def use(sides: Any, filled: Any, *model_ids: str) -> None:
    models = tuple(runs.ModelInput(model_id=model_id) for model_id in model_ids)
    sides.source.transport.call(runs.LOG_INPUTS, runs.LogInputs(run_id=filled.child, models=models))


def make_model(sides: Any, filled: Any, *, run_id: str = "") -> str:
    request = logged_models.CreateLoggedModel(experiment_id=filled.experiment, name="other", source_run_id=run_id)
    made: str = sides.source.transport.call(logged_models.CREATE_LOGGED_MODEL, request).model.info.model_id
    ready = logged_models.FinalizeLoggedModel(model_id=made, status="LOGGED_MODEL_READY")
    sides.source.transport.call(logged_models.FINALIZE_LOGGED_MODEL, ready)
    return made


def as_mlflow_searches(operation: Any, request: Any, answer: Any) -> Any:
    """Its server tells the models that a run has used only to who asks for that run."""
    if operation.name != answers.SEARCH_RUNS.name:
        return answer
    pages = (replace(run, inputs=replace(run.inputs, model_inputs=())) for run in answer.runs)
    return replace(answer, runs=tuple(pages))


def test_models_that_a_run_has_used_come_though_a_search_does_not_tell_them(sides: Any, filled: Any) -> None:
    other = make_model(sides, filled)
    use(sides, filled, filled.logged_model, other)

    def around(operation: Any, request: Any, call: Any) -> Any:
        return as_mlflow_searches(operation, request, call(operation, request))  # the target is one, too

    for _ in range(2):
        report = sides.copy(change=as_mlflow_searches, around=around)
        assert report.is_equal, report
        assert links(report) == (3, 3)
        assert copied_links(sides) == ({filled.logged_model, other}, {filled.logged_model})


def test_finished_run_without_models_is_not_asked_for_again(sides: Any, filled: Any) -> None:
    sides.copy()
    asked = []

    def change(operation: Any, request: Any, answer: Any) -> Any:
        if operation.name == answers.GET_RUN.name:
            asked.append(request.run_id)
        return answer

    assert sides.copy(change=change).is_equal
    assert filled.child not in asked


def test_copy_from_before_used_models_were_read_is_completed(sides: Any, filled: Any) -> None:
    use(sides, filled, filled.logged_model)
    sides.copy()
    child = copied_child(sides)
    content = marks.content_of(child.data.tags)
    assert content is not None
    mark = replace(content, inputs=None).tag()
    sides.target.transport.call(
        runs.SET_RUN_TAG, runs.SetRunTag(run_id=child.info.run_id, key=mark.key, value=mark.value)
    )
    assert sides.copy().is_equal
    assert marks.content_of(copied_child(sides).data.tags) == content


def test_model_that_a_run_has_both_used_and_made_comes_as_both_when_a_copy_ends_in_between(
    sides: Any, filled: Any
) -> None:
    use(sides, filled, filled.logged_model)

    def around(operation: Any, request: Any, call: Any) -> Any:
        if operation.name == runs.LOG_OUTPUTS.name:
            raise Unavailable("gone")
        return call(operation, request)

    with pytest.raises(Unavailable):
        sides.copy(around=around, change=as_mlflow_searches)
    report = sides.copy(change=as_mlflow_searches)
    assert report.is_equal, report
    assert links(report) == (2, 2)
    assert copied_links(sides) == ({filled.logged_model}, {filled.logged_model})


def test_link_that_is_lost_at_the_target_is_seen(sides: Any, filled: Any) -> None:
    def around(operation: Any, request: Any, call: Any) -> Any:
        return None if operation.name == runs.LOG_OUTPUTS.name else call(operation, request)

    assert links(sides.copy(around=around)) == (1, 0)
    assert links(sides.copy()) == (1, 1)


def test_link_to_a_deleted_model_stays_behind_with_it(sides: Any, filled: Any) -> None:
    gone = make_model(sides, filled)
    use(sides, filled, gone)
    sides.source.transport.call(logged_models.DELETE_LOGGED_MODEL, logged_models.OneLoggedModel(model_id=gone))
    for _ in range(2):
        report = sides.copy()
        assert report.is_equal, report
        assert links(report) == (1, 1)


def model_metrics(report: Report) -> tuple[int, int]:
    return next((count.source, count.target) for count in report.counts if count.what == "model metrics")


def measured_by(sides: Any, origin: str) -> tuple[str, list[tuple[str, Any, str | None]]]:
    """The source run of the copy of a logged model and its metrics with their runs, by the ids at the source."""
    call = sides.target.transport.call
    found = call(experiments.SEARCH_EXPERIMENTS, experiments.SearchExperiments()).experiments
    ids = tuple(experiment.experiment_id for experiment in found)
    page = call(runs.SEARCH_RUNS, runs.SearchRuns(experiment_ids=ids, run_view_type="ALL")).runs
    origins = {run.info.run_id: marks.origin_of(run.data.tags) for run in page}
    models = call(logged_models.SEARCH_LOGGED_MODELS, logged_models.SearchLoggedModels(experiment_ids=ids)).models
    (model,) = [model for model in models if marks.origin_of(model.info.tags) == origin]
    metrics = [(metric.key, metric.value, origins.get(metric.run_id)) for metric in model.data.metrics]
    return origins.get(model.info.source_run_id, ""), metrics


def measure(sides: Any, run_id: str, model_id: str) -> None:
    metric = runs.Metric(key="auc", value=0.9, timestamp=3, step=0, model_id=model_id)
    sides.source.tracking.log_batch(run_id, metrics=[metric])


def test_model_of_a_deleted_run_is_completed_when_that_run_comes(sides: Any, filled: Any) -> None:
    trainer = sides.source.tracking.create_run(filled.experiment, run_name="trainer")
    model = make_model(sides, filled, run_id=trainer)
    measure(sides, trainer, model)
    sides.source.transport.call(runs.DELETE_RUN, runs.OfRun(run_id=trainer))
    report = sides.copy()
    (line,) = report.refused
    assert line.startswith(f"logged model {model}: ") and f"the run {trainer} has not come" in line
    assert "--deleted" in line
    assert model_metrics(report) == (2, 1)
    sides.source.transport.call(runs.RESTORE_RUN, runs.OfRun(run_id=trainer))
    for _ in range(2):
        report = sides.copy()
        assert report.is_equal, report
        assert model_metrics(report) == (2, 2)
        assert measured_by(sides, model) == (trainer, [("auc", 0.9, trainer)])


def test_model_is_completed_when_a_run_that_was_refused_comes(sides: Any, filled: Any) -> None:
    def change(operation: Any, request: Any, answer: Any) -> Any:
        if operation.name == runs.METRIC_HISTORY.name and request.run_id == filled.child:
            raise PermissionDenied("not yours")
        return answer

    report = sides.copy(change=change)
    assert [line.partition(":")[0] for line in report.refused][:2] == [
        f"run {filled.child}",
        f"logged model {filled.logged_model}",
    ]
    assert model_metrics(report) == (1, 0)
    if sides.way == "import":
        assert sides.copy().is_equal
    else:  # its version's number is taken by then
        assert not any("logged model" in line for line in sides.copy().refused)
    assert measured_by(sides, filled.logged_model) == (filled.child, [("acc", 0.75, filled.child)])


def test_model_that_an_earlier_copy_called_complete_without_its_metrics_gets_them(sides: Any, filled: Any) -> None:
    """Which counted only those of runs that had come."""

    def around(operation: Any, request: Any, call: Any) -> Any:
        is_of_model = operation.name == runs.LOG_BATCH.name and any(metric.model_id for metric in request.metrics)
        if is_of_model:
            return None
        if operation.name == logged_models.SET_LOGGED_MODEL_TAGS.name:
            (mark,) = request.tags
            content = marks.content_of(request.tags)
            request = replace(request, tags=((replace(content, points=0).tag() if content else mark),))
        return call(operation, request)

    assert model_metrics(sides.copy(around=around)) == (1, 0)
    assert model_metrics(sides.copy()) == (1, 1)


def test_model_of_a_run_that_is_gone_for_good_is_complete(sides: Any, filled: Any) -> None:
    model = make_model(sides, filled, run_id="0123456789abcdef0123456789abcdef")
    for _ in range(2):
        report = sides.copy()
        assert report.is_equal, report
    assert measured_by(sides, model) == ("", [])
