"""Logged models with their files and what was measured of them; their runs are there before."""

from functools import cache, partial
from math import isnan

from msgspec.structs import replace

from lockgate.errors import NotFound
from lockgate.exchange import answers, marks
from lockgate.exchange.book import Book
from lockgate.exchange.destination import Place
from lockgate.exchange.files import Sizes, copy_files, open_files
from lockgate.exchange.refused import REFUSED, Refusals
from lockgate.wire.mlflow import logged_models as wire
from lockgate.wire.mlflow import runs
from lockgate.wire.mlflow.experiments import Tag

_ENDED = ("LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")
_METRICS_A_BATCH = 1000


def read_logged_models(book: Book, experiment_id: str) -> list[wire.LoggedModel]:
    """All of one experiment of the source that are not deleted, counted."""
    models = list(book.source.iter_logged_models(experiment_id))
    for model in models:
        book.read.update(
            {
                "logged models": 1,
                "params": len(model.data.params),
                "tags": len(marks.copied(model.info.tags)),
                "model metrics": len(model.data.metrics),
            }
        )
    return models


def copy_logged_models(book: Book, source_id: str, target_id: str) -> None:
    """All of one experiment that are not deleted."""
    known: dict[str, tuple[Place, marks.Content | None]] = {}
    for there in book.target.iter_logged_models(target_id):
        if origin := marks.origin_of(there.info.tags):
            place = Place(there.info.model_id, there.info.artifact_uri)
            known[origin] = place, marks.content_of(there.info.tags)

    def work(model: wire.LoggedModel) -> tuple[Place, marks.Content]:
        return _copy(book, model, target_id, *known.get(model.info.model_id, (None, None)))

    models = read_logged_models(book, source_id)
    for model, (place, content) in book.each(work, models, lambda model: f"logged model {model.info.model_id}"):
        book.logged_models[model.info.model_id] = place
        book.read.update(
            {
                "artifact files": content.files,
                "artifact bytes": content.size_bytes,
            }
        )
        book.progress.advance()


def _copy(
    book: Book, model: wire.LoggedModel, experiment_id: str, place: Place | None, content: marks.Content | None
) -> tuple[Place, marks.Content]:
    info = model.info
    digest = _digest(model)
    # An earlier one was complete also without the metrics of runs that were not there yet.
    if place and content and content.digest == digest and content.points == len(model.data.metrics):
        return place, content
    refuse = book.parts_of(f"logged model {info.model_id}")
    call = book.target.transport.call
    tags = marks.copied(info.tags)
    if place is None:
        origin = Tag(key=marks.ORIGIN, value=info.model_id)
        place = book.destination.create_logged_model(model, experiment_id, _source_run(book, model), (*tags, origin))
    elif tags:
        call(wire.SET_LOGGED_MODEL_TAGS, wire.SetLoggedModelTags(model_id=place.id, tags=tags))
    _copy_metrics(book, model, place, refuse)
    source, target = book.source.transport, book.target.transport
    try:
        sizes = copy_files(open_files(source, info.artifact_uri), open_files(target, place.artifact_uri), refuse)
    except REFUSED as error:
        refuse("files", error)
        sizes = Sizes(0, 0)
    if info.status in _ENDED:
        call(answers.FINALIZE_LOGGED_MODEL, wire.FinalizeLoggedModel(model_id=place.id, status=info.status))
    content = marks.Content(digest, len(model.data.metrics), sizes.files, sizes.size_bytes)
    if not refuse.are_any:  # what is incomplete is copied again by the same command
        call(wire.SET_LOGGED_MODEL_TAGS, wire.SetLoggedModelTags(model_id=place.id, tags=(content.tag(),)))
    return place, content


def _source_run(book: Book, model: wire.LoggedModel) -> str:
    """Its id at the target, said when the model is made and never later.

    Raises NotFound for a run that will have another id there and is still to come.
    """
    run_id = model.info.source_run_id
    if run := book.runs.get(run_id):
        return run.id
    if not run_id or book.destination.keeps_ids:
        return run_id
    try:
        book.source.transport.call(answers.GET_RUN, runs.OfRun(run_id=run_id))
    except NotFound:
        return ""  # gone for good
    raise _to_come(book, run_id)


def _to_come(book: Book, run_id: str) -> NotFound:
    hint = None if book.with_deleted else "where it is deleted, --deleted brings it"
    return NotFound(f"the run {run_id} has not come.", hint=hint)


def _copy_metrics(book: Book, model: wire.LoggedModel, place: Place, refuse: Refusals) -> None:
    """They are said of a model by a run, perhaps of another experiment."""
    by_run: dict[str, list[runs.Metric]] = {}
    missing = set()
    nans = cache(partial(_nans, book))
    for metric in model.data.metrics:
        if run := book.runs.get(metric.run_id or ""):
            is_nan = metric.value == 0 and _place(metric) in nans(metric.run_id, metric.key)
            value = "NaN" if is_nan else metric.value
            by_run.setdefault(run.id, []).append(replace(metric, value=value, model_id=place.id, run_id=None))
        else:
            missing.add(metric.run_id or "")
    for run_id in sorted(missing):
        refuse("metrics", _to_come(book, run_id))
    for run_id, metrics in by_run.items():
        for start in range(0, len(metrics), _METRICS_A_BATCH):
            part = tuple(metrics[start : start + _METRICS_A_BATCH])
            book.target.transport.call(runs.LOG_BATCH, runs.LogBatch(run_id=run_id, metrics=part))


def _nans(book: Book, run_id: str, key: str) -> set[tuple[int, int]]:
    """Where a run has NaN and no 0: MLflow keeps the NaN of a model as 0, beside that of the run that logged it."""
    zeros, nans = set(), set()
    for point in book.source.iter_history(run_id, key):
        value = float(point.value)
        if value == 0:
            zeros.add(_place(point))
        elif isnan(value):
            nans.add(_place(point))
    return nans - zeros


def _place(metric: runs.Metric) -> tuple[int, int]:
    return metric.timestamp, metric.step or 0


def _digest(model: wire.LoggedModel) -> str:
    """Without what changes when somebody registers the model."""
    info = replace(
        model.info,
        last_updated_timestamp_ms=0,
        registrations=(),
        tags=tuple(sorted(marks.copied(model.info.tags), key=lambda tag: tag.key)),
    )
    data = replace(
        model.data,
        params=tuple(sorted(model.data.params, key=lambda param: param.key)),
        metrics=tuple(sorted(model.data.metrics, key=lambda m: (m.key, m.timestamp, m.step or 0, m.run_id or ""))),
    )
    return marks.digest_of(replace(model, info=info, data=data))
