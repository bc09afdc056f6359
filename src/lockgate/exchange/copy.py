"""One copy from beginning to end: experiments with their runs, logged models, links between them, the registry."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

from lockgate.errors import InvalidInput
from lockgate.exchange import marks
from lockgate.exchange.book import COUNTED, Book, Progress
from lockgate.exchange.destination import Destination
from lockgate.exchange.endpoint import Endpoint
from lockgate.exchange.experiments import ensure_experiment, find_copies
from lockgate.exchange.logged_models import copy_logged_models, read_logged_models
from lockgate.exchange.registry import copy_models
from lockgate.exchange.runs import Unsettled, copy_page, known_runs, settle
from lockgate.exchange.verify import count_copies
from lockgate.wire.mlflow import experiments as wire
from lockgate.wire.mlflow import runs


class Count(NamedTuple):
    """One row of the table at the end."""

    what: str
    source: int
    target: int


class Report(NamedTuple):
    """What the source has and what is there now; `refused` names what the target will never accept."""

    counts: tuple[Count, ...]
    refused: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return not self.refused and all(count.source == count.target for count in self.counts)


def copy(
    source: Endpoint,
    target: Endpoint,
    destination: Destination,
    *,
    progress: Progress,
    prefix: str = "",
    with_deleted: bool = False,
    jobs: int = 8,
) -> Report:
    """Copy everything, or go on with what an earlier call left. `prefix` goes before names of experiments and models.

    Raises Conflict for a name that something else has at the target, and AlreadyExists for a run that is there under
    another name; Unavailable where one of the two does not answer, after which the same call goes on.
    """
    with ThreadPoolExecutor(jobs, thread_name_prefix="lockgate-copy") as pool:
        book = Book(source, target, destination, pool, progress, prefix=prefix, with_deleted=with_deleted)
        found = list(source.iter_experiments())
        book.copies = find_copies(book)
        needed = _runs_of_versions(book)
        unsettled: list[Unsettled] = []
        for number, experiment in enumerate(found, 1):
            progress.phase(f"runs of {experiment.name!r} ({number} of {len(found)})")
            unsettled += _copy_experiment(book, experiment, needed)
        progress.phase("logged models")
        for source_id, target_id in book.experiments.items():
            copy_logged_models(book, source_id, target_id)
        progress.phase("links between runs and models")
        book.each(lambda item: settle(book, item), unsettled, lambda item: f"run {item.run_id}")
        progress.phase("registered models")
        copy_models(book)
        for experiment in found:
            if experiment.lifecycle_stage != "active" and (copy_id := book.experiments.get(experiment.experiment_id)):
                mark = wire.SetExperimentTag(experiment_id=copy_id, key=marks.DELETED, value="true")
                target.transport.call(wire.SET_EXPERIMENT_TAG, mark)  # first: who finds it deleted knows by whom
                target.transport.call(wire.DELETE_EXPERIMENT, wire.ExperimentId(experiment_id=copy_id))
        progress.phase("counting at the target")
        there = count_copies(book)
        counts = tuple(Count(what, book.read[what], there[what]) for what in COUNTED)
        return Report(counts, tuple(book.refused))


def _runs_of_versions(book: Book) -> frozenset[str]:
    """Runs that registered versions were made from are copied even where they are deleted."""
    models = book.source.iter_models()
    return frozenset(version.run_id for model in models for version in book.source.list_versions(model))


def _copy_experiment(book: Book, experiment: wire.Experiment, needed: frozenset[str]) -> list[Unsettled]:
    """An experiment that is deleted is left out, unless it has a run that is needed."""
    pages: Iterator[list[runs.Run]] = _wanted_runs(book, experiment, needed)
    if experiment.lifecycle_stage != "active" and not book.with_deleted:
        first = next(pages, None)
        if first is None:
            return []
        pages = chain([first], pages)
    book.read.update({"experiments": 1, "tags": len(marks.copied(experiment.tags))})
    try:
        copy_id = ensure_experiment(book, experiment)
    except InvalidInput as error:
        book.refuse(f"experiment {experiment.name}", error)
        for _ in pages:
            pass  # counted as they are read
        read_logged_models(book, experiment.experiment_id)
        return []
    book.experiments[experiment.experiment_id] = copy_id
    known = known_runs(book, copy_id)
    return [item for page in pages for item in copy_page(book, page, copy_id, known)]


def _wanted_runs(book: Book, experiment: wire.Experiment, needed: frozenset[str]) -> Iterator[list[runs.Run]]:
    """Pages, counted."""
    for page in book.source.iter_runs(experiment.experiment_id):
        wanted = [
            run
            for run in page
            if book.with_deleted or run.info.lifecycle_stage == "active" or run.info.run_id in needed
        ]
        for run in wanted:
            book.read.update(
                {
                    "runs": 1,
                    "params": len(run.data.params),
                    "tags": len(marks.copied(run.data.tags)),
                    "datasets": len(run.inputs.dataset_inputs),
                }
            )
        if wanted:
            yield wanted
