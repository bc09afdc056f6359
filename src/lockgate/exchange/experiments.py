"""Experiments: found again by the tag that says where they are from, or made."""

from lockgate.errors import AlreadyExists, Conflict, InvalidInput
from lockgate.exchange import marks
from lockgate.exchange.book import Book
from lockgate.wire.mlflow import experiments as wire
from lockgate.wire.mlflow.experiments import Tag


def ensure_experiment(book: Book, experiment: wire.Experiment) -> str:
    """The id of the copy, which is active now and named as at the source.

    Raises Conflict for a name that something else has, and InvalidInput where somebody deleted the copy.
    """
    name, key = book.prefix + experiment.name, origin(experiment)
    tags = (*marks.copied(experiment.tags), Tag(key=marks.ORIGIN, value=key))
    if book.prefix:
        tags = (*tags, Tag(key=marks.PREFIX, value=book.prefix))
    call = book.target.transport.call
    there = book.target.find_experiment(name)
    if there is None or marks.origin_of(there.tags) != key:
        there = book.copies.get(key, there)  # under the name that it had at the source before
    if there is None:
        return call(wire.CREATE_EXPERIMENT, wire.CreateExperiment(name=name, tags=tags)).experiment_id
    if marks.origin_of(there.tags) != key and not is_untouched(book, there):
        raise Conflict(
            f"{book.target.name} has an experiment {name!r} already, which is no copy of this one.",
            hint="rename one of the two; then the same command copies it",
        )
    if there.lifecycle_stage != "active":
        if experiment.lifecycle_stage == "active" and not marks.was_deleted(there.tags):
            raise InvalidInput(f"its copy was deleted at {book.target.name}.", hint="restore it, or delete it for good")
        call(wire.RESTORE_EXPERIMENT, wire.ExperimentId(experiment_id=there.experiment_id))  # deleted again at the end
        unmark = wire.SetExperimentTag(experiment_id=there.experiment_id, key=marks.DELETED, value="false")
        call(wire.SET_EXPERIMENT_TAG, unmark)
    if there.name != name:
        try:
            call(wire.UPDATE_EXPERIMENT, wire.UpdateExperiment(experiment_id=there.experiment_id, new_name=name))
        except AlreadyExists as error:
            raise InvalidInput(
                f"its copy is {there.name!r} at {book.target.name}, where something else has its new name {name!r}.",
                hint="the same command renames it when that name is free",
            ) from error
    for tag in sorted(set(tags) - set(there.tags), key=lambda tag: tag.key == marks.ORIGIN, reverse=True):
        request = wire.SetExperimentTag(experiment_id=there.experiment_id, key=tag.key, value=tag.value)
        call(wire.SET_EXPERIMENT_TAG, request)
    return there.experiment_id


def origin(experiment: wire.Experiment) -> str:
    """What its copies say they are copies of."""
    return marks.dated(experiment.experiment_id, experiment.creation_time)


def find_copies(book: Book) -> dict[str, wire.Experiment]:
    """Those under this prefix that are at the target, by their origins."""
    found = book.target.iter_experiments()
    return {marks.origin_of(there.tags): there for there in found if marks.prefix_of(there.tags) == book.prefix}


def is_untouched(book: Book, there: wire.Experiment) -> bool:
    """Like the experiment Default, which every server has."""
    pages = book.target.iter_runs(there.experiment_id)
    return there.lifecycle_stage == "active" and not there.tags and not any(pages)
