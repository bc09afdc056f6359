"""One copy from beginning to end: experiments with their runs, logged models, links between them, the registry."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from lockgate.errors import AlreadyExists, Conflict
from lockgate.exchange import marks
from lockgate.exchange.book import COUNTED, Book, Progress
from lockgate.exchange.destination import Destination
from lockgate.exchange.endpoint import Endpoint
from lockgate.exchange.experiments import ensure_experiment, find_copies, is_untouched, origin
from lockgate.exchange.logged_models import copy_logged_models, read_logged_models
from lockgate.exchange.registry import copy_models, find_model_copies
from lockgate.exchange.runs import Unsettled, copy_page, known_runs, settle
from lockgate.exchange.scratch import remove_leftovers
from lockgate.exchange.verify import count_copies
from lockgate.wire.mlflow import experiments as wire
from lockgate.wire.mlflow import runs
from lockgate.wire.mlflow.registry import RegisteredModel


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

    Raises Conflict for names that something else has at the target, and AlreadyExists for runs that are there under
    another prefix, both before anything is written: a later copy refuses by its name what it cannot bring. Raises
    Unavailable where one of the two does not answer, after which the same call goes on. Whatever it raises ends both
    transports, so that nothing of it goes on.
    """
    remove_leftovers()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="lockgate-copy")
    try:
        return _copy(Book(source, target, destination, pool, progress, prefix=prefix, with_deleted=with_deleted))
    except BaseException:  # Ctrl-C as well
        for side in (source, target):
            side.transport.end()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _copy(book: Book) -> Report:
    progress, call = book.progress, book.target.transport.call
    models = list(book.source.iter_models())
    # Runs that registered versions were made from are copied even where they are deleted.
    needed = frozenset(version.run_id for model in models for version in book.source.list_versions(model))
    found = [item for item in book.source.iter_experiments() if _is_wanted(book, item, needed)]
    book.copies = find_copies(book)
    _require_names(book, found, models)
    unsettled: list[Unsettled] = []
    for number, experiment in enumerate(found, 1):
        progress.phase(f"runs of {experiment.name!r} ({number} of {len(found)})")
        unsettled += _copy_experiment(book, experiment, needed)
    progress.phase("logged models")
    for source_id, target_id in book.experiments.items():
        copy_logged_models(book, source_id, target_id)
    progress.phase("links between runs and models")
    settle(book, unsettled)
    progress.phase("registered models")
    copy_models(book)
    for experiment in found:
        if experiment.lifecycle_stage != "active" and (copy_id := book.experiments.get(experiment.experiment_id)):
            mark = wire.SetExperimentTag(experiment_id=copy_id, key=marks.DELETED, value="true")
            call(wire.SET_EXPERIMENT_TAG, mark)  # first: who finds it deleted knows by whom
            call(wire.DELETE_EXPERIMENT, wire.ExperimentId(experiment_id=copy_id))
    progress.phase("counting at the target")
    there = count_copies(book)
    counts = tuple(Count(what, book.read[what], there[what]) for what in COUNTED)
    return Report(counts, tuple(book.refused))


def _is_wanted(book: Book, experiment: wire.Experiment, needed: frozenset[str]) -> bool:
    """An experiment that is deleted is left out, unless it has a run that is needed."""
    if experiment.lifecycle_stage == "active" or book.with_deleted:
        return True
    return any(_wanted_runs(book, experiment, needed))


def _require_names(book: Book, found: Sequence[wire.Experiment], models: Sequence[RegisteredModel]) -> None:
    """For a first copy, which can still have other names: where a part is there, it cannot come under others as well.

    Raises Conflict or AlreadyExists.
    """
    origins = {origin(experiment) for experiment in found}
    if not origins.isdisjoint(book.copies) or find_model_copies(book, models):
        return
    there = {experiment.name: experiment for experiment in book.target.iter_experiments()}
    other = next((item for item in there.values() if marks.origin_of(item.tags) in origins), None)
    if other and book.destination.keeps_ids:
        raise AlreadyExists(
            f"a copy of this source is here already, with the experiment {other.name!r}, and a run keeps its id, so "
            "that it can be here only once.",
            hint=f"go on with the prefix of that copy: --prefix '{marks.prefix_of(other.tags)}'",
        )
    names = {model.name for model in book.target.iter_models()}
    taken = [
        f"experiment {name!r}"
        for name in (book.prefix + experiment.name for experiment in found)
        if name in there and not is_untouched(book, there[name])
    ]
    taken += [f"registered model {name!r}" for model in models if (name := book.prefix + model.name) in names]
    if taken:
        raise Conflict(
            f"nothing was copied, as {book.target.name} has names already for what is no copy of this one: "
            f"{', '.join(taken)}.",
            hint=f"give the copies other names: --prefix {'other' if book.prefix else 'mlflow'}-",
        )


def _copy_experiment(book: Book, experiment: wire.Experiment, needed: frozenset[str]) -> list[Unsettled]:
    book.read.update({"experiments": 1, "tags": len(marks.copied(experiment.tags))})
    copy_id = ""
    with book.refusing(f"experiment {experiment.name}"):
        copy_id = book.experiments[experiment.experiment_id] = ensure_experiment(book, experiment)
    known = known_runs(book, copy_id) if copy_id else {}
    unsettled: list[Unsettled] = []
    for page in _wanted_runs(book, experiment, needed):
        for run in page:
            book.read.update(
                {
                    "runs": 1,
                    "params": len(run.data.params),
                    "tags": len(marks.copied(run.data.tags)),
                    "datasets": len(run.inputs.dataset_inputs),
                }
            )
        if copy_id:
            unsettled += copy_page(book, page, copy_id, known)
    if not copy_id:
        read_logged_models(book, experiment.experiment_id)
    return unsettled


def _wanted_runs(book: Book, experiment: wire.Experiment, needed: frozenset[str]) -> Iterator[list[runs.Run]]:
    """Pages that are not empty."""
    for page in book.source.iter_runs(experiment.experiment_id):
        wanted = [
            run
            for run in page
            if book.with_deleted or run.info.lifecycle_stage == "active" or run.info.run_id in needed
        ]
        if wanted:
            yield wanted
