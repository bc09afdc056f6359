"""Experiments: named groups of runs. Experiment 0, `Default`, is there from the start."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from lockgate.errors import AlreadyExists, InvalidInput, NotFound
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.events import append_event
from lockgate.metadata.limits import (
    EXPERIMENT_NAME_LENGTH,
    EXPERIMENT_TAG_LENGTH,
    require_key,
    require_text,
)
from lockgate.metadata.locations import require_location
from lockgate.metadata.pairs import pairs_of
from lockgate.metadata.tables import experiment_tags, experiments, runs
from lockgate.wire.mlflow.artifacts import PROXY_SCHEME

ACTIVE, DELETED = "active", "deleted"
DEFAULT_ID = 0


def create_experiment(tx: Tx, name: str, *, artifact_location: str = "", tags: Mapping[str, str] | None = None) -> int:
    """The new id. Raises AlreadyExists, also where the experiment of that name is deleted."""
    _require_name(name)
    require_location(artifact_location)
    other = find_experiment(tx.connection, name)
    if other is not None:
        raise _taken(other)
    row = {
        "name": name,
        "artifact_location": artifact_location,
        "lifecycle_stage": ACTIVE,
        "created_at": tx.at,
        "updated_at": tx.at,
    }
    created: int = tx.connection.execute(insert(experiments).returning(experiments.c.experiment_id), row).scalar_one()
    if not artifact_location:
        # The location holds the id, so it can only be written once there is one.
        _update(tx, created, artifact_location=f"{PROXY_SCHEME}{created}")
    for key, value in (tags or {}).items():
        set_experiment_tag(tx, created, key, value)
    append_event(tx, "experiment.created", name, {"experiment_id": created})
    return created


def find_experiment(connection: Connection, name: str) -> RowMapping | None:
    return connection.execute(select(experiments).where(experiments.c.name == name)).mappings().first()


def get_experiment(connection: Connection, experiment_id: int) -> RowMapping:
    """Raises NotFound."""
    query = select(experiments).where(experiments.c.experiment_id == experiment_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"No Experiment with id={experiment_id} exists.")
    return row


def require_active(connection: Connection, experiment_id: int) -> RowMapping:
    """Raises NotFound, or InvalidInput where it is deleted."""
    row = get_experiment(connection, experiment_id)
    if row["lifecycle_stage"] != ACTIVE:
        raise InvalidInput(
            f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted.",
            hint="restore it first",
        )
    return row


def tags_of_experiments(connection: Connection, experiment_ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    """(key, value) by experiment, sorted by key."""
    return pairs_of(connection, experiment_tags, experiment_ids)


def set_experiment_tag(tx: Tx, experiment_id: int, key: str, value: str) -> None:
    """Raises NotFound, or InvalidInput for a deleted experiment and for what cannot be stored."""
    require_key(key, "Tag")
    require_text(value, EXPERIMENT_TAG_LENGTH, "value")
    require_active(tx.connection, experiment_id)
    tx.connection.execute(
        upsert(tx.is_sqlite, experiment_tags)
        .values(experiment_id=experiment_id, key=key, value=value)
        .on_conflict_do_update(index_elements=["experiment_id", "key"], set_={"value": value})
    )


def delete_experiment_tag(tx: Tx, experiment_id: int, key: str) -> None:
    """Raises NotFound, also where the experiment has no such tag, or InvalidInput for a deleted experiment."""
    require_active(tx.connection, experiment_id)
    t = experiment_tags.c
    removed = tx.connection.execute(delete(experiment_tags).where(t.experiment_id == experiment_id, t.key == key))
    if not removed.rowcount:
        raise NotFound(f"No tag with name: {key} in experiment with id {experiment_id}.")


def rename_experiment(tx: Tx, experiment_id: int, name: str) -> None:
    """Raises NotFound, InvalidInput for a deleted one, AlreadyExists for a name that is taken."""
    _require_name(name)
    require_active(tx.connection, experiment_id)
    other = find_experiment(tx.connection, name)
    if other is not None and other["experiment_id"] != experiment_id:
        raise _taken(other)
    _update(tx, experiment_id, name=name, updated_at=tx.at)


def set_experiment_stage(tx: Tx, experiment_id: int, stage: str) -> None:
    """Delete or restore, with all its runs. Raises NotFound, also where there is no such experiment to delete."""
    row = get_experiment(tx.connection, experiment_id)
    if row["lifecycle_stage"] == stage:
        raise NotFound(f"No Experiment with id={experiment_id} exists that is not {stage}.")
    _update(tx, experiment_id, lifecycle_stage=stage, updated_at=tx.at)
    deleted_at = tx.at if stage == DELETED else None
    of_experiment = runs.c.experiment_id == experiment_id
    tx.connection.execute(update(runs).where(of_experiment).values(lifecycle_stage=stage, deleted_at=deleted_at))
    append_event(tx, f"experiment.{'deleted' if stage == DELETED else 'restored'}", row["name"])


def _taken(other: RowMapping) -> AlreadyExists:
    """MLflow's clients show the message alone, so the way out is in it."""
    is_deleted = other["lifecycle_stage"] == DELETED
    way_out = " It is deleted: restore it or take another name." if is_deleted else ""
    return AlreadyExists(f"Experiment(name={other['name']}) already exists.{way_out}")


def _require_name(name: str) -> None:
    if not name:
        raise InvalidInput("Invalid experiment name: ''. An experiment needs a name.")
    require_text(name, EXPERIMENT_NAME_LENGTH, "name")


def _update(tx: Tx, experiment_id: int, **values: str | int) -> None:
    tx.connection.execute(update(experiments).where(experiments.c.experiment_id == experiment_id).values(**values))
