"""Runs: one execution of training code, with its params and tags."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import driver
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event
from lockgate.metadata.experiments import ACTIVE, DELETED, require_active
from lockgate.metadata.limits import USER_LENGTH, cut_text, require_key, require_text
from lockgate.metadata.locations import below
from lockgate.metadata.pairs import pairs_of, say_again, say_once
from lockgate.metadata.tables import params, run_tags, runs
from lockgate.wire.operation import PARAM_LENGTH, TAG_LENGTH

ENDED = ("FINISHED", "FAILED", "KILLED")
NAME_TAG = "mlflow.runName"
_COLUMNS = tuple(column.name for column in runs.c)  # the first is the id
_SOME_RUNS = f"SELECT {', '.join(_COLUMNS)} FROM runs WHERE run_id IN ?"
STAGE_OF_RUN = "SELECT lifecycle_stage FROM runs WHERE run_id = ?"  # for the driver
_STAGE = select(runs.c.lifecycle_stage).where(runs.c.run_id == bindparam("run_id"))


def create_run(
    tx: Tx, run_id: str, *, experiment_id: int, run_name: str, user_id: str, start_time: int, tags: Mapping[str, str]
) -> dict[str, Any]:
    """A run with status RUNNING; its row by column.

    Raises NotFound or InvalidInput for the experiment, InvalidInput for a tag.

    As with MLflow's server, tags that a run is created with may be called what `set_run_tags` would refuse, and are not
    cut.
    """
    require_text(user_id, USER_LENGTH, "user_id")
    run_name = cut_text(run_name, TAG_LENGTH, "run_name")
    experiment = require_active(tx.connection, experiment_id)
    row = {
        "run_id": run_id,
        "experiment_id": experiment_id,
        "run_name": run_name,
        "user_id": user_id,
        "status": "RUNNING",
        "start_time": start_time,
        "end_time": None,
        "lifecycle_stage": ACTIVE,
        "artifact_uri": below(experiment["artifact_location"], f"{run_id}/artifacts"),
    }
    tx.connection.execute(insert(runs), row)
    say_again(tx, run_tags, run_id, {**tags, NAME_TAG: run_name})
    append_event(tx, "run.created", run_id, {"experiment_id": experiment_id, "name": run_name})
    return row


def is_known(connection: Connection, run_id: str) -> bool:
    """Whether there is such a run, be it deleted."""
    return driver.scalar(connection, "SELECT 1 FROM runs WHERE run_id = ?", run_id) is not None


def find_uri(connection: Connection, run_id: str) -> str | None:
    """Where its files are; a deleted run's as well."""
    found: str | None = driver.scalar(connection, "SELECT artifact_uri FROM runs WHERE run_id = ?", run_id)
    return found


def get_run(connection: Connection, run_id: str) -> dict[str, Any]:
    """Its row by column. Raises NotFound."""
    row = _rows(connection, [run_id]).get(run_id)
    if row is None:
        raise NotFound(f"Run with id={run_id} not found.", hint="lockgate runs lists them")
    return row


def runs_of(connection: Connection, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows by column, in the order of the ids."""
    by_id = _rows(connection, run_ids)
    return [by_id[run_id] for run_id in run_ids]


def _rows(connection: Connection, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = driver.rows_among(connection, _SOME_RUNS, among=run_ids)
    return {row[0]: dict(zip(_COLUMNS, row, strict=True)) for row in rows}


def require_active_run(connection: Connection, run_id: str) -> None:
    """Raises NotFound, or InvalidInput where the run is deleted."""
    require_active_stage(connection, run_id, driver.scalar(connection, STAGE_OF_RUN, run_id))


def require_active_stage(connection: Connection, run_id: str, stage: str | None) -> None:
    """The same where it has been asked already."""
    if stage is None:
        get_run(connection, run_id)
    if stage != ACTIVE:
        raise InvalidInput(
            f"The run {run_id} must be in the 'active' state. Current state is {stage}.", hint="restore it first"
        )


def hold_run(tx: Tx, run_id: str) -> None:
    """Nobody else who holds the run comes between, until this transaction ends. Metrics of the run wait for nobody."""
    # SQLite has one writer and ignores it.
    tx.connection.execute(_STAGE.with_for_update(key_share=True), {"run_id": run_id})


def update_run(
    tx: Tx, run_id: str, *, status: str | None = None, end_time: int | None = None, run_name: str | None = None
) -> None:
    """Change what is given. Without a time an end status ends now, and any other one takes the end away."""
    require_active_run(tx.connection, run_id)
    before = tx.connection.scalar(select(runs.c.status).where(runs.c.run_id == run_id))
    values: dict[str, str | int | None] = {}
    if status is not None:
        values["status"] = status
        values["end_time"] = tx.at if status in ENDED else None
    if end_time is not None:
        values["end_time"] = end_time
    if run_name:
        set_run_tags(tx, run_id, {NAME_TAG: run_name})  # renames the run as well
    if values:
        tx.connection.execute(update(runs).where(runs.c.run_id == run_id).values(**values))
    if status in ENDED and status != before:  # who says it again, as clients that repeat do, says nothing new
        append_event(tx, "run.finished", run_id, {"status": status})


def set_run_stage(tx: Tx, run_id: str, *, deleted: bool) -> None:
    """Delete or restore; a deleted run keeps what it has."""
    get_run(tx.connection, run_id)
    values = {"lifecycle_stage": DELETED if deleted else ACTIVE, "deleted_at": tx.at if deleted else None}
    tx.connection.execute(update(runs).where(runs.c.run_id == run_id).values(**values))
    append_event(tx, "run.deleted" if deleted else "run.restored", run_id)


def log_params(tx: Tx, run_id: str, values: Mapping[str, str]) -> None:
    """A param is said once: the same value again is fine, another one raises InvalidInput and nothing is written."""
    for key in values:
        require_key(key, "Param")
    say_once(tx, params, "run", run_id, {k: cut_text(v, PARAM_LENGTH, f"param {k}") for k, v in values.items()})


def set_run_tags(tx: Tx, run_id: str, values: Mapping[str, str]) -> None:
    """Set or overwrite. `mlflow.runName` renames the run, but not to nothing."""
    for key in values:
        require_key(key, "Tag")
    kept = {k: cut_text(v, TAG_LENGTH, f"tag {k}") for k, v in values.items() if v or k != NAME_TAG}
    say_again(tx, run_tags, run_id, kept)
    if name := kept.get(NAME_TAG):
        tx.connection.execute(update(runs).where(runs.c.run_id == run_id).values(run_name=name))


def delete_run_tag(tx: Tx, run_id: str, key: str) -> None:
    """Raises NotFound where the run has no such tag."""
    removed = tx.connection.execute(delete(run_tags).where(run_tags.c.run_id == run_id, run_tags.c.key == key))
    if not removed.rowcount:
        raise NotFound(f"No tag with name: {key} in run with id {run_id}.")


def params_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """(key, value) by run, sorted by key."""
    return pairs_of(connection, params, run_ids)


def tags_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """(key, value) by run, sorted by key."""
    return pairs_of(connection, run_tags, run_ids)
