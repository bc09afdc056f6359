"""Runs with all they logged. A run that is complete is skipped, unless it has changed at the source since."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from lockgate.client.tracking import Tracking
from lockgate.clock import SystemClock
from lockgate.errors import InvalidInput
from lockgate.exchange import answers, marks
from lockgate.exchange.book import Book
from lockgate.exchange.destination import Place
from lockgate.exchange.endpoint import Endpoint
from lockgate.exchange.files import Files, OutsideFiles, Sizes, copy_files, open_files
from lockgate.exchange.refused import REFUSED, Refusals
from lockgate.wire.mlflow import artifacts
from lockgate.wire.mlflow import runs as wire
from lockgate.wire.mlflow.experiments import Tag

PARENT_TAG = "mlflow.parentRunId"

T = TypeVar("T")


class Known(NamedTuple):
    """A copy of a run that an earlier attempt has left."""

    place: Place
    content: marks.Content | None
    is_deleted: bool
    outputs: frozenset[str]  # ids of logged models


class Links(NamedTuple):
    """The models that a run says it has used and made, by their ids at the target."""

    inputs: set[str]
    outputs: dict[str, int]  # with their steps


class Unsettled(NamedTuple):
    """What of a run is written when all runs and logged models have their ids; deletion comes last."""

    run_id: str
    place: Place
    inputs: tuple[wire.ModelInput, ...]
    outputs: tuple[wire.ModelOutput, ...]
    parent: str
    is_deleted: bool
    known_outputs: frozenset[str]


def known_runs(book: Book, experiment_id: str) -> dict[str, Known]:
    """The copies that are in one experiment of the target, by their ids at the source."""
    found = {}
    for page in book.target.iter_runs(experiment_id):
        for run in page:
            if origin := marks.origin_of(run.data.tags):
                found[origin] = Known(
                    Place(run.info.run_id, run.info.artifact_uri),
                    marks.content_of(run.data.tags),
                    run.info.lifecycle_stage != "active",
                    frozenset(item.model_id for item in outputs_of(run)),
                )
    return found


def copy_page(book: Book, page: Iterable[wire.Run], experiment_id: str, known: dict[str, Known]) -> Iterator[Unsettled]:
    """Copy what is not complete, several at once; what must wait for the others is handed back."""

    def work(run: wire.Run) -> tuple[Place, marks.Content, tuple[wire.ModelInput, ...]]:
        return _copy_run(book, run, experiment_id, known.get(run.info.run_id))

    for run, (place, content, inputs) in book.each(work, list(page), lambda run: f"run {run.info.run_id}"):
        book.runs[run.info.run_id] = place
        book.read.update(
            {
                "metric points": content.points,
                "artifact files": content.files,
                "artifact bytes": content.size_bytes,
            }
        )
        is_deleted = run.info.lifecycle_stage != "active"
        parent = next((tag.value for tag in run.data.tags if tag.key == PARENT_TAG), "")
        outputs = outputs_of(run)
        if is_deleted or outputs or inputs or parent:
            before = known.get(run.info.run_id)
            there = before.outputs if before else frozenset()
            yield Unsettled(run.info.run_id, place, inputs, outputs, parent, is_deleted, there)
        book.progress.advance()


def settle(book: Book, items: Sequence[Unsettled]) -> None:
    """Write what names other runs and models, under the ids that they have at the target; then delete what was."""
    for item in items:
        book.read["model links"] += sum(map(len, _links_of(book, item)))
    book.each(lambda item: _settle(book, item), items, lambda item: f"run {item.run_id}")


def _links_of(book: Book, item: Unsettled) -> Links:
    """Those to models that come; deleted ones do not."""
    copies = book.logged_models
    inputs = {copies[one.model_id].id for one in item.inputs if one.model_id in copies}
    return Links(inputs, {copies[one.model_id].id: one.step or 0 for one in item.outputs if one.model_id in copies})


def _settle(book: Book, item: Unsettled) -> None:
    call, links = book.target.transport.call, _links_of(book, item)
    parent = book.runs.get(item.parent)
    if parent is not None and parent.id != item.parent:
        call(wire.SET_RUN_TAG, wire.SetRunTag(run_id=item.place.id, key=PARENT_TAG, value=parent.id))
    if links.inputs:
        there = {one.model_id for one in book.target.list_model_inputs(item.place.id)}
        if new := links.inputs - there:
            inputs = tuple(wire.ModelInput(model_id=model_id) for model_id in sorted(new))
            call(wire.LOG_INPUTS, wire.LogInputs(run_id=item.place.id, models=inputs))
    if made := links.outputs.keys() - item.known_outputs:
        outputs = tuple(wire.ModelOutput(model_id=model_id, step=links.outputs[model_id]) for model_id in sorted(made))
        call(wire.LOG_OUTPUTS, wire.LogOutputs(run_id=item.place.id, models=outputs))
    if item.is_deleted:
        call(wire.DELETE_RUN, wire.OfRun(run_id=item.place.id))


def outputs_of(run: wire.Run) -> tuple[wire.ModelOutput, ...]:
    return run.outputs.model_outputs if run.outputs else ()


def run_files(source: Endpoint, run: wire.Run) -> Files:
    """Raises InvalidInput where a server keeps them in a folder of its own machine that is not there on this one."""
    files = open_files(source.transport, run.info.artifact_uri)
    if isinstance(files, OutsideFiles) and not files.exists():
        request = artifacts.ListArtifacts(run_id=run.info.run_id)
        if source.transport.call(answers.LIST_RUN_FILES, request).files:
            raise InvalidInput(
                f"its files are at {run.info.artifact_uri}, which cannot be read from here; copy them on that machine."
            )
    return files


def _copy_run(
    book: Book, run: wire.Run, experiment_id: str, known: Known | None
) -> tuple[Place, marks.Content, tuple[wire.ModelInput, ...]]:
    """With the models that it has used, for `settle`.

    What of it is refused is noted, and leaves it incomplete: the same command tries that again.
    """
    digest = marks.digest_of(_ordered(run))
    if known and known.content and known.content.digest == digest and run.info.status != "RUNNING":
        if known.is_deleted and run.info.lifecycle_stage == "active":
            raise InvalidInput(f"its copy {known.place.id} was deleted at {book.target.name}; restore that first.")
        if known.content.inputs == 0:  # what it is said to have used later comes with its next change
            return known.place, known.content, ()
        if known.content.inputs:
            return known.place, known.content, book.source.list_model_inputs(run.info.run_id)
    inputs = book.source.list_model_inputs(run.info.run_id)
    refuse = book.parts_of(f"run {run.info.run_id}")
    call = book.target.transport.call
    if known is None:
        place, there = _create_run(book, run, experiment_id)
    else:
        place = known.place
        if known.is_deleted:
            call(wire.RESTORE_RUN, wire.OfRun(run_id=place.id))
        there = call(answers.GET_RUN, wire.OfRun(run_id=place.id)).run.data.tags
    _copy_params_and_tags(book, run, place, there, refuse)
    if run.inputs.dataset_inputs:
        try:
            with book.naming_datasets:
                call(wire.LOG_INPUTS, wire.LogInputs(run_id=place.id, datasets=run.inputs.dataset_inputs))
        except REFUSED as error:
            refuse("datasets", error)
    points = _copy_points(book, run, place, refuse)
    sizes = _copy_files(book, run, place, refuse)
    info = run.info
    if info.status != "RUNNING" or info.end_time is not None or known is not None:
        request = wire.UpdateRun(
            run_id=place.id, status=info.status, end_time=info.end_time, run_name=info.run_name or None
        )
        call(answers.UPDATE_RUN, request)
    content = marks.Content(digest, points, sizes.files, sizes.size_bytes, len(inputs))
    if not refuse.are_any:
        mark = content.tag()
        call(wire.SET_RUN_TAG, wire.SetRunTag(run_id=place.id, key=mark.key, value=mark.value))
    return place, content, inputs


def _create_run(book: Book, run: wire.Run, experiment_id: str) -> tuple[Place, tuple[Tag, ...]]:
    """With its tags; where one of them is refused without any but its parent's, the others to be set one by one."""
    tags = marks.copied(run.data.tags)
    origin = Tag(key=marks.ORIGIN, value=run.info.run_id)
    try:
        return book.destination.create_run(run, experiment_id, (*tags, origin)), tags
    except InvalidInput:
        parent = tuple(tag for tag in tags if tag.key == PARENT_TAG)
        return book.destination.create_run(run, experiment_id, (*parent, origin)), parent


def _copy_params_and_tags(book: Book, run: wire.Run, place: Place, there: tuple[Tag, ...], refuse: Refusals) -> None:
    tracking = Tracking(book.target.transport, SystemClock())
    # What is there already may be called what only a new run's tags may; its parent's id there is for `settle` to say.
    tags = [tag for tag in marks.copied(run.data.tags) if tag not in there and tag.key != PARENT_TAG]

    def log(items: Sequence[tuple[str, Tag]]) -> None:
        params = {item.key: item.value for kind, item in items if kind == "param"}
        tracking.log_batch(
            place.id, params=params, tags={item.key: item.value for kind, item in items if kind == "tag"}
        )

    items = [*(("param", param) for param in run.data.params), *(("tag", tag) for tag in tags)]
    _at_once_or_each(log, items, lambda item: f"{item[0]} {item[1].key!r}", refuse)


def _copy_points(book: Book, run: wire.Run, place: Place, refuse: Refusals) -> int:
    def log(metrics: Sequence[Sequence[wire.Metric]]) -> None:
        book.destination.log_points(place.id, list(chain.from_iterable(metrics)))

    points = book.source.iter_points(run)
    copied = 0
    while part := list(islice(points, book.destination.points_a_request)):
        by_key = [list(metric) for _, metric in groupby(part, lambda point: point.key)]
        _at_once_or_each(log, by_key, lambda metric: f"metric {metric[0].key!r}", refuse)
        copied += len(part)
        book.progress.advance(items=0, points=len(part))
    return copied


def _copy_files(book: Book, run: wire.Run, place: Place, refuse: Refusals) -> Sizes:
    try:
        source = run_files(book.source, run)
        return copy_files(source, open_files(book.target.transport, place.artifact_uri), refuse)
    except REFUSED as error:
        refuse("files", error)
        return Sizes(0, 0)


def _at_once_or_each(
    send: Callable[[Sequence[T]], None], items: Sequence[T], name: Callable[[T], str], refuse: Refusals
) -> None:
    """A request is all or nothing: where one of the items is refused, each goes by itself."""
    try:
        send(items)
    except REFUSED:
        for item in items:
            try:
                send([item])
            except REFUSED as error:
                refuse(name(item), error)


def _ordered(run: wire.Run) -> wire.Run:
    """Servers list what a run has in any order."""
    data = replace(
        run.data,
        metrics=tuple(sorted(run.data.metrics, key=lambda metric: metric.key)),
        params=tuple(sorted(run.data.params, key=lambda param: param.key)),
        tags=tuple(sorted(run.data.tags, key=lambda tag: tag.key)),
    )
    used = sorted(run.inputs.dataset_inputs, key=lambda item: (item.dataset.name, item.dataset.digest))
    return replace(run, data=data, inputs=replace(run.inputs, dataset_inputs=tuple(used)))
