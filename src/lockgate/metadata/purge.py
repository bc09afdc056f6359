"""Deleting for good what was deleted before: first the rows, then the folders and long histories.

The transaction that deletes rows writes their folders down in `doomed_folders`; a folder is struck off when it is gone.
So a crash at any instant leaves nothing that is listed without its files, and no folder that nobody knows of.

Others write meanwhile, and one run may have millions of points. Where a transaction would delete too many, the run goes
at once and its series are nobody's: their latest values stay, no run's, and tell which histories are still to go. So
nobody sees half of a history, and SQLite does not give a number again that still has points.

What a registered version was made from is kept, as long as there is the version.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from lockgate.metadata.database import Tx
from lockgate.metadata.driver import prefer_walks
from lockgate.metadata.events import append_event
from lockgate.metadata.experiments import DEFAULT_ID, DELETED
from lockgate.metadata.tables import (
    datasets,
    doomed_folders,
    experiments,
    latest_metrics,
    logged_models,
    metrics,
    model_versions,
    run_datasets,
    run_models,
    runs,
)
from lockgate.wire.mlflow.artifacts import PROXY_SCHEME

_FILES = re.compile(r"/artifacts(?=\?|$)")  # where the folder of a run or a logged model keeps its files
_NOBODY = ""  # the run of series whose run is gone
_POINTS = 30_000  # that a transaction deletes: SQLite takes 10 ms for them, PostgreSQL 50
_SERIES = 200


class Purge(NamedTuple):
    """How many rows go, and how many would if no registered version came from them."""

    runs: int
    logged_models: int
    experiments: int
    kept: int


def count_purgeable(connection: Connection, *, before: int) -> Purge:
    """What was deleted before that time and can go for good."""
    return Purge(
        _count(connection, runs, _purgeable_runs(before)),
        _count(connection, logged_models, _purgeable_models(before)),
        _count(connection, experiments, _empty_after(before)),
        count_kept(connection, before=before),
    )


def count_kept(connection: Connection, *, before: int) -> int:
    """How many would go if no registered version came from them."""
    of_runs = _count(connection, runs, and_(_old_runs(before), _is_source(runs)))
    return of_runs + _count(connection, logged_models, and_(_old_models(before), _is_source(logged_models)))


def purge(tx: Tx, *, before: int, limit: int) -> tuple[Purge, list[str], bool]:
    """Delete the rows of at most `limit` of each kind, experiments when nothing is left in them.

    Also the runs' ids, and whether another call may find something to do.
    """
    found = _find(tx, runs, _purgeable_runs(before), limit)
    prefer_walks(tx.connection)  # or PostgreSQL reads the histories of all runs for those of a few
    of_runs = found
    while (is_much := _has_many_points(tx, _series_of([row[0] for row in of_runs]))) and len(of_runs) > 1:
        of_runs = of_runs[: len(of_runs) // 2]
    prefer_walks(tx.connection, prefer=False)
    run_ids = [run_id for run_id, _ in of_runs]
    _delete_datasets(tx, run_ids)
    _delete(tx, runs, of_runs)
    if is_much:
        nobodys = {"run_id": _NOBODY, "key": cast(latest_metrics.c.series, Text)}
        tx.connection.execute(update(latest_metrics).where(latest_metrics.c.run_id.in_(run_ids)).values(nobodys))
    else:
        prefer_walks(tx.connection)
        # Now that nobody can log any more.
        tx.connection.execute(delete(metrics).where(metrics.c.series.in_(_series_of(run_ids))))
        tx.connection.execute(delete(latest_metrics).where(latest_metrics.c.run_id.in_(run_ids)))
        prefer_walks(tx.connection, prefer=False)
    of_models = _find(tx, logged_models, _purgeable_models(before), limit)
    _delete(tx, logged_models, of_models)
    if of_models:  # or all that runs name would be looked through for nothing
        names_one = run_models.c.model_id.in_([model_id for model_id, _ in of_models])
        tx.connection.execute(delete(run_models).where(names_one))
    is_empty = and_(
        not_(exists().where(runs.c.experiment_id == experiments.c.experiment_id)),
        not_(exists().where(logged_models.c.experiment_id == experiments.c.experiment_id)),
    )
    of_experiments = _find(tx, experiments, and_(_old_experiments(before), is_empty), limit)
    _delete(tx, experiments, of_experiments)
    done = Purge(len(of_runs), len(of_models), len(of_experiments), 0)
    folders = [_FILES.sub("", uri, count=1) for _, uri in (*of_runs, *of_models)]
    # A location that somebody chose may hold more than the experiment's files.
    folders += [uri for number, uri in of_experiments if uri == f"{PROXY_SCHEME}{number}"]
    doom(tx, folders)
    if any(done):
        details = {"runs": done.runs, "logged_models": done.logged_models, "experiments": done.experiments}
        append_event(tx, "tracking.purged", "", details)
    return done, run_ids, limit in done or len(of_runs) < len(found)


def delete_points(tx: Tx) -> None:
    """A part of the histories that are nobody's; anybody may do this at any time, and several at once."""
    t = latest_metrics.c
    prefer_walks(tx.connection)
    series = tx.connection.scalars(_series_of([_NOBODY]).order_by(t.key).limit(_SERIES)).all()
    while (is_much := _has_many_points(tx, series)) and len(series) > 1:
        series = series[: len(series) // 2]
    its = metrics.c.series.in_(series)
    if is_much:
        point = tuple_(*metrics.primary_key.columns)
        its = point.in_(select(*metrics.primary_key.columns).where(its).limit(_POINTS))
    tx.connection.execute(delete(metrics).where(its))
    if not is_much:
        tx.connection.execute(delete(latest_metrics).where(t.run_id == _NOBODY, t.series.in_(series)))


def has_points(connection: Connection) -> bool:
    """Whether there is something for `delete_points`."""
    return connection.scalar(_series_of([_NOBODY]).limit(1)) is not None


def doom(tx: Tx, uris: Sequence[str]) -> None:
    """The folders are to be deleted, after those that already are."""
    if uris:
        tx.connection.execute(insert(doomed_folders), [{"uri": uri} for uri in uris])


def list_doomed(connection: Connection, *, limit: int) -> Sequence[Row[int, str]]:
    """(number, URI) of folders that are to be deleted, the oldest first."""
    t = doomed_folders.c
    return connection.execute(select(t.doomed_id, t.uri).order_by(t.doomed_id).limit(limit)).all()


def strike_off(tx: Tx, doomed_id: int) -> None:
    """The folder is gone."""
    tx.connection.execute(delete(doomed_folders).where(doomed_folders.c.doomed_id == doomed_id))


def _find(tx: Tx, table: Table, condition: ColumnElement[bool], limit: int) -> Sequence[Row[str, str]]:
    """(id, URI) of rows."""
    identity = table.primary_key.columns[0]
    uri = table.c.artifact_location if table is experiments else table.c.artifact_uri
    return tx.connection.execute(select(identity, uri).where(condition).order_by(identity).limit(limit)).all()


def _has_many_points(tx: Tx, series: Select[int] | Sequence[int]) -> bool:
    """Whether the histories have more points than one transaction deletes."""
    one_more = select(metrics.c.series).where(metrics.c.series.in_(series)).offset(_POINTS).limit(1)
    return tx.connection.scalar(one_more) is not None


def _series_of(run_ids: Sequence[str]) -> Select[int]:
    return select(latest_metrics.c.series).where(latest_metrics.c.run_id.in_(run_ids))


def _delete(tx: Tx, table: Table, found: Sequence[Row[str, str]]) -> None:
    """With what belongs to the rows, but for metrics."""
    tx.connection.execute(delete(table).where(table.primary_key.columns[0].in_([row[0] for row in found])))


def _delete_datasets(tx: Tx, run_ids: Sequence[str]) -> None:
    """Those that no other run has used."""
    t, u = datasets.c, run_datasets.c
    is_used_here = t.dataset_id.in_(select(u.dataset_id).where(u.run_id.in_(run_ids)))
    # On PostgreSQL a run may be about to name one: wait for it, or what it says would go along with the dataset.
    tx.connection.execute(select(t.dataset_id).where(is_used_here).with_for_update())
    is_used_elsewhere = exists().where(u.dataset_id == t.dataset_id, u.run_id.not_in(run_ids))
    tx.connection.execute(delete(datasets).where(is_used_here, not_(is_used_elsewhere)))


def _count(connection: Connection, table: Table, condition: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(table).where(condition)) or 0


def _purgeable_runs(before: int) -> ColumnElement[bool]:
    return and_(_old_runs(before), not_(_is_source(runs)))


def _purgeable_models(before: int) -> ColumnElement[bool]:
    return and_(_old_models(before), not_(_is_source(logged_models)))


def _old_runs(before: int) -> ColumnElement[bool]:
    return and_(runs.c.lifecycle_stage == DELETED, runs.c.deleted_at < before)


def _old_models(before: int) -> ColumnElement[bool]:
    t = logged_models.c
    within = exists().where(experiments.c.experiment_id == t.experiment_id, _old_experiments(before))
    return or_(_was_deleted(before), and_(within, not_(_run_stays(before))))


def _was_deleted(before: int) -> ColumnElement[bool]:
    """Logged models that were deleted by themselves."""
    return and_(logged_models.c.lifecycle_stage == DELETED, logged_models.c.updated_at < before)


def _run_stays(before: int) -> ColumnElement[bool]:
    """Logged models whose run stays, such as one that was restored in a deleted experiment."""
    return exists().where(runs.c.run_id == logged_models.c.source_run_id, not_(_purgeable_runs(before)))


def _old_experiments(before: int) -> ColumnElement[bool]:
    t = experiments.c
    return and_(t.lifecycle_stage == DELETED, t.updated_at < before, t.experiment_id != DEFAULT_ID)


def _empty_after(before: int) -> ColumnElement[bool]:
    """Experiments that hold nothing but what goes."""
    of_experiment = experiments.c.experiment_id
    model_stays = or_(_is_source(logged_models), and_(not_(_was_deleted(before)), _run_stays(before)))
    return and_(
        _old_experiments(before),
        not_(exists().where(runs.c.experiment_id == of_experiment, not_(_purgeable_runs(before)))),
        not_(exists().where(logged_models.c.experiment_id == of_experiment, model_stays)),
    )


def _is_source(table: Table) -> ColumnElement[bool]:
    of_version = model_versions.c.run_id == runs.c.run_id
    if table is logged_models:
        of_version = model_versions.c.model_id == logged_models.c.model_id
    return exists().where(of_version)
