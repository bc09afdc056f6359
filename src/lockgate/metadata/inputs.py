"""What a run read and made: datasets, and logged models as inputs and outputs.

Rows are written in the order of their keys, so that of two who write the same at once one waits, and not both.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, func, select

from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.driver import rows_among
from lockgate.metadata.limits import DATASET_LENGTHS, INPUT_TAG_LENGTHS, require_text
from lockgate.metadata.modes import Raced
from lockgate.metadata.runs import get_run
from lockgate.metadata.tables import datasets, run_datasets, run_models

CONTEXT_TAG = "mlflow.data.context"

_MOST_SUMMARIES = 1000
_DATASETS = (
    "SELECT run_datasets.run_id, name, digest, source_type, source, schema, profile, tags FROM run_datasets "
    "JOIN datasets ON datasets.dataset_id = run_datasets.dataset_id WHERE run_datasets.run_id IN ? "
    "ORDER BY run_datasets.run_id, position, datasets.dataset_id"
)
_MODELS = "SELECT run_id, direction, model_id, step FROM run_models WHERE run_id IN ? ORDER BY run_id, step, model_id"

Direction = Literal["input", "output"]


class DatasetUse(NamedTuple):
    """One dataset as a run used it; `tags` carry the context (`mlflow.data.context: training`)."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str | None
    tags: Mapping[str, str]


def log_datasets(tx: Tx, run_id: str, uses: Sequence[DatasetUse]) -> None:
    """Once a run and dataset: a repetition changes nothing. Raises InvalidInput for what cannot be stored."""
    if not uses:
        return
    for use in uses:
        _require_storable(use)
    experiment_id = get_run(tx.connection, run_id)["experiment_id"]
    u = run_datasets.c
    place = tx.connection.scalar(select(func.coalesce(func.max(u.position) + 1, 0)).where(u.run_id == run_id)) or 0
    placed = sorted(enumerate(uses, start=place), key=lambda item: (item[1].name, item[1].digest))
    ids = [_dataset_id(tx, experiment_id, use) for _, use in placed]
    rows = [
        {
            "run_id": run_id,
            "dataset_id": dataset_id,
            "context": use.tags.get(CONTEXT_TAG, ""),
            "tags": msgspec.json.encode(dict(use.tags)).decode(),
            "position": position,
        }
        for dataset_id, (position, use) in zip(ids, placed, strict=True)
    ]
    tx.connection.execute(upsert(tx.is_sqlite, run_datasets).on_conflict_do_nothing(), rows)


def _require_storable(use: DatasetUse) -> None:
    for field, limit in DATASET_LENGTHS.items():
        require_text(getattr(use, field) or "", limit, field)
    for key, value in use.tags.items():
        require_text(key, INPUT_TAG_LENGTHS[0], "key")
        require_text(value, INPUT_TAG_LENGTHS[1], "value")


def _dataset_id(tx: Tx, experiment_id: int, use: DatasetUse) -> int:
    tx.connection.execute(
        upsert(tx.is_sqlite, datasets)
        .values(experiment_id=experiment_id, **{k: v for k, v in use._asdict().items() if k != "tags"})
        .on_conflict_do_nothing()
    )
    t = datasets.c
    query = select(t.dataset_id).where(t.experiment_id == experiment_id, t.name == use.name, t.digest == use.digest)
    found: int | None = tx.connection.scalar(query)
    if found is None:
        raise Raced("the last run that used the dataset was deleted for good meanwhile.", hint="repeat")
    return found


def summaries_of(connection: Connection, experiment_ids: Sequence[int]) -> Sequence[Row[int, str, str, str]]:
    """(experiment id, name, digest, context) of the datasets that runs of experiments used; a thousand at most."""
    d, u = datasets.c, run_datasets.c
    query = select(d.experiment_id, d.name, d.digest, u.context).join(run_datasets, u.dataset_id == d.dataset_id)
    query = query.where(d.experiment_id.in_(experiment_ids)).distinct()
    return connection.execute(query.order_by(d.name, d.digest, u.context).limit(_MOST_SUMMARIES)).all()


def log_run_models(tx: Tx, run_id: str, steps: Sequence[tuple[str, int]], direction: Direction) -> None:
    """(model id, step): once a run, model and direction."""
    if not steps:
        return
    rows = [
        {"run_id": run_id, "model_id": model_id, "direction": direction, "step": step}
        for model_id, step in sorted(steps, key=lambda item: item[0])
    ]
    tx.connection.execute(upsert(tx.is_sqlite, run_models).on_conflict_do_nothing(), rows)


def datasets_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[DatasetUse]]:
    """The datasets that each run read, in the order they were logged."""
    found: dict[str, list[DatasetUse]] = {}
    for run_id, *fields, tags in rows_among(connection, _DATASETS, among=run_ids):
        found.setdefault(run_id, []).append(DatasetUse._make((*fields, msgspec.json.decode(tags))))
    return found


def models_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[tuple[Direction, str, int]]]:
    """(direction, model id, step) by run."""
    found: dict[str, list[tuple[Direction, str, int]]] = {}
    for run_id, direction, model_id, step in rows_among(connection, _MODELS, among=run_ids):
        found.setdefault(run_id, []).append((direction, model_id, step))
    return found
