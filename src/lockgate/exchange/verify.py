"""Counting at the destination what was copied there, from the records and files themselves.

A copy that has lost values of metrics or files is marked as incomplete, so that the same command copies it again.
"""

from collections import Counter
from contextlib import suppress

from lockgate.errors import InvalidInput
from lockgate.exchange import marks
from lockgate.exchange.book import COUNTED, Book
from lockgate.exchange.files import Sizes, count, open_files
from lockgate.exchange.registry import LOOSE_ROOT
from lockgate.exchange.runs import outputs_of
from lockgate.wire.mlflow import logged_models, runs
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.operation import Operation, Req, Res


def count_copies(book: Book) -> Counter[str]:
    """The same rows as `book.read`, of what this copy went through."""
    found: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    wanted = set(book.experiments.values())
    for experiment in book.target.iter_experiments():
        if experiment.experiment_id in wanted:
            found.update({"experiments": 1, "tags": len(marks.copied(experiment.tags))})
    for experiment_id in wanted:
        _count_runs(book, experiment_id, found)
        _count_logged_models(book, experiment_id, found)
    _count_models(book, found)
    return found


def _count_runs(book: Book, experiment_id: str, found: Counter[str]) -> None:
    models = {place.id for place in book.logged_models.values()}

    def work(run: runs.Run) -> tuple[int, int, Sizes]:
        points = sum(1 for _ in book.target.iter_points(run))
        content = marks.content_of(run.data.tags)
        inputs = book.target.list_model_inputs(run.info.run_id) if content is None or content.inputs else ()
        links = sum(len(models & {one.model_id for one in some}) for some in (inputs, outputs_of(run)))
        return points, links, count(open_files(book.target.transport, run.info.artifact_uri))

    for page in book.target.iter_runs(experiment_id):
        copies = [run for run in page if marks.origin_of(run.data.tags) in book.runs]
        for run, (points, links, sizes) in book.each(work, copies, lambda run: f"copy {run.info.run_id}"):
            found.update(
                {
                    "runs": 1,
                    "params": len(run.data.params),
                    "tags": len(marks.copied(run.data.tags)),
                    "datasets": len(run.inputs.dataset_inputs),
                    "metric points": points,
                    "model links": links,
                    "artifact files": sizes.files,
                    "artifact bytes": sizes.size_bytes,
                }
            )
            content = marks.content_of(run.data.tags)
            if content and content.is_more_than(points, *sizes):
                mark = runs.SetRunTag(run_id=run.info.run_id, key=marks.CONTENT, value=marks.INCOMPLETE)
                _forget(book, runs.SET_RUN_TAG, mark)
            book.progress.advance(points=points)


def _count_logged_models(book: Book, experiment_id: str, found: Counter[str]) -> None:
    def work(model: logged_models.LoggedModel) -> Sizes:
        return count(open_files(book.target.transport, model.info.artifact_uri))

    models = book.target.iter_logged_models(experiment_id)
    copies = [model for model in models if marks.origin_of(model.info.tags) in book.logged_models]
    for model, sizes in book.each(work, copies, lambda model: f"copy {model.info.model_id}"):
        found.update(
            {
                "logged models": 1,
                "params": len(model.data.params),
                "tags": len(marks.copied(model.info.tags)),
                "model metrics": len(model.data.metrics),
                "artifact files": sizes.files,
                "artifact bytes": sizes.size_bytes,
            }
        )
        content = marks.content_of(model.info.tags)
        if content and content.is_more_than(len(model.data.metrics), *sizes):
            mark = (Tag(key=marks.CONTENT, value=marks.INCOMPLETE),)
            request = logged_models.SetLoggedModelTags(model_id=model.info.model_id, tags=mark)
            _forget(book, logged_models.SET_LOGGED_MODEL_TAGS, request)


def _forget(book: Book, operation: Operation[Req, Res], request: Req) -> None:
    """That it was complete."""
    with suppress(InvalidInput):  # what is deleted takes no tags
        book.target.transport.call(operation, request)


def _count_models(book: Book, found: Counter[str]) -> None:
    for model in book.target.iter_models():
        if model.name not in book.models:
            continue
        found.update({"registered models": 1, "tags": len(marks.copied(model.tags)), "aliases": len(model.aliases)})
        for version in book.target.list_versions(model):
            if (version.name, version.version) in book.versions:
                found.update({"versions": 1, "tags": len(marks.copied(version.tags))})
                if version.source.startswith(f"{LOOSE_ROOT}/"):
                    sizes = count(open_files(book.target.transport, version.source))
                    found.update({"artifact files": sizes.files, "artifact bytes": sizes.size_bytes})
