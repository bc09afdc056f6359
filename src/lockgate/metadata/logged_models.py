"""Logged models: model files that a run made. They become READY when all their files are there."""

import math
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, delete, select, update
from sqlalchemy import insert as plain_insert

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import driver
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event
from lockgate.metadata.experiments import ACTIVE, DELETED, require_active
from lockgate.metadata.limits import require_text
from lockgate.metadata.locations import below
from lockgate.metadata.pairs import pairs_of, say_again, say_once
from lockgate.metadata.patterns import fits_any
from lockgate.metadata.points import ModelPoint, Point
from lockgate.metadata.tables import (
    experiments,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    model_versions,
)
from lockgate.wire.operation import TAG_LENGTH

# They have a meaning in the URIs of models.
_NOT_IN_NAMES = "/:.%\"'"


def create_logged_model(
    tx: Tx,
    model_id: str,
    *,
    experiment_id: int,
    name: str,
    model_type: str,
    source_run_id: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    """Pending until it is finalised. Raises NotFound or InvalidInput for the experiment, InvalidInput for a name."""
    _require_name(name)
    experiment = require_active(tx.connection, experiment_id)
    tx.connection.execute(
        plain_insert(logged_models),
        {
            "model_id": model_id,
            "experiment_id": experiment_id,
            "name": name,
            "model_type": model_type or None,
            "source_run_id": source_run_id or None,
            "status": "LOGGED_MODEL_PENDING",
            "artifact_uri": below(experiment["artifact_location"], f"models/{model_id}/artifacts"),
            "lifecycle_stage": ACTIVE,
            "created_at": tx.at,
            "updated_at": tx.at,
        },
    )
    log_logged_model_params(tx, model_id, params)
    set_logged_model_tags(tx, model_id, tags)


def get_logged_model(connection: Connection, model_id: str, *, allow_deleted: bool = False) -> RowMapping:
    """Raises NotFound, also for a deleted one unless that is allowed."""
    query = select(logged_models).where(logged_models.c.model_id == model_id)
    row = connection.execute(query).mappings().first()
    if row is None or (row["lifecycle_stage"] != ACTIVE and not allow_deleted):
        raise NotFound(f"Logged model with ID '{model_id}' not found.")
    return row


def find_uri(connection: Connection, model_id: str) -> str | None:
    """Where its files are; a deleted one's as well."""
    statement = "SELECT artifact_uri FROM logged_models WHERE model_id = ?"
    found: str | None = driver.scalar(connection, statement, model_id)
    return found


def finalize_logged_model(tx: Tx, model_id: str, status: str) -> None:
    row = get_logged_model(tx.connection, model_id, allow_deleted=True)
    _update(tx, model_id, status=status)
    append_event(tx, "model.logged", model_id, {"status": status, "run_id": row["source_run_id"], "name": row["name"]})


def delete_logged_model(tx: Tx, model_id: str) -> None:
    """Also one that is deleted already. Raises NotFound."""
    get_logged_model(tx.connection, model_id, allow_deleted=True)
    _update(tx, model_id, lifecycle_stage=DELETED)


def log_logged_model_params(tx: Tx, model_id: str, values: Mapping[str, str]) -> None:
    """A param is said once: the same value again is fine, another one raises InvalidInput. Raises NotFound."""
    get_logged_model(tx.connection, model_id, allow_deleted=True)
    say_once(tx, logged_model_params, "logged model", model_id, values)


def set_logged_model_tags(tx: Tx, model_id: str, values: Mapping[str, str]) -> None:
    """Set or overwrite. Raises NotFound, or InvalidInput for what cannot be stored."""
    get_logged_model(tx.connection, model_id, allow_deleted=True)
    say_again(tx, logged_model_tags, model_id, values)


def delete_logged_model_tag(tx: Tx, model_id: str, key: str) -> None:
    """Raises NotFound where the model has no such tag."""
    get_logged_model(tx.connection, model_id, allow_deleted=True)
    t = logged_model_tags.c
    removed = tx.connection.execute(delete(logged_model_tags).where(t.model_id == model_id, t.key == key))
    if not removed.rowcount:
        raise NotFound(f"No tag with key {key!r} found for model with ID {model_id!r}.")


def models_of_run(connection: Connection, run_id: str, *, seen: Sequence[str] | None = None) -> Sequence[RowMapping]:
    """Newest first; `seen`: only those in an experiment whose name fits one of its patterns."""
    t = logged_models.c
    query = select(logged_models).join(experiments, experiments.c.experiment_id == t.experiment_id)
    query = query.where(t.source_run_id == run_id, t.lifecycle_stage == ACTIVE)
    query = query.where(fits_any(connection, seen, experiments.c.name))
    return connection.execute(query.order_by(t.created_at.desc(), t.model_id)).mappings().all()


def logged_params_of(connection: Connection, model_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    return pairs_of(connection, logged_model_params, model_ids)


def logged_tags_of(connection: Connection, model_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    return pairs_of(connection, logged_model_tags, model_ids)


def logged_metrics_of(connection: Connection, model_ids: Sequence[str]) -> dict[str, list[tuple[str, ModelPoint]]]:
    """(run id, value) by model."""
    t = logged_model_metrics.c
    query = select(logged_model_metrics).where(t.model_id.in_(model_ids))
    query = query.order_by(t.model_id, t.key, t.timestamp, t.step)
    found: dict[str, list[tuple[str, ModelPoint]]] = {}
    for row in connection.execute(query):
        point = Point(row.key, math.nan if row.is_nan else row.value, row.timestamp, row.step)
        item = ModelPoint(row.model_id, point, row.dataset_name, row.dataset_digest)
        found.setdefault(row.model_id, []).append((row.run_id, item))
    return found


def registrations_of(
    connection: Connection, model_ids: Sequence[str], *, seen: Sequence[str] | None = None
) -> dict[str, list[tuple[str, int]]]:
    """(registered name, version) by model; `seen`: only names that fit one of its patterns."""
    t = model_versions.c
    registered = select(t.model_id, t.name, t.version).where(t.model_id.in_(model_ids))
    registered = registered.where(fits_any(connection, seen, t.name))
    found: dict[str, list[tuple[str, int]]] = {}
    for model_id, name, version in connection.execute(registered.order_by(t.name, t.version)):
        found.setdefault(model_id, []).append((name, version))
    return found


def _update(tx: Tx, model_id: str, **values: str) -> None:
    tx.connection.execute(
        update(logged_models).where(logged_models.c.model_id == model_id).values(updated_at=tx.at, **values)
    )


def _require_name(name: str) -> None:
    if any(character in _NOT_IN_NAMES for character in require_text(name, TAG_LENGTH, "name")):
        raise InvalidInput(f"Invalid model name ({name!r}) provided. It cannot contain any of {_NOT_IN_NAMES}")
