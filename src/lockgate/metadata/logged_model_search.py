"""Finding logged models by attributes, params, tags and metrics, the latter perhaps on one dataset."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select

from lockgate.errors import InvalidInput
from lockgate.metadata.experiments import ACTIVE
from lockgate.metadata.filters import Comparison, condition, parse_filter, parse_name, require_number, require_text
from lockgate.metadata.pages import Page, fetch_page
from lockgate.metadata.tables import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
)

_TEXT = {
    "name": logged_models.c.name,
    "model_id": logged_models.c.model_id,
    "model_type": logged_models.c.model_type,
    "status": logged_models.c.status,
    "source_run_id": logged_models.c.source_run_id,
}
_NUMBERS = {
    "creation_timestamp": logged_models.c.created_at,
    "creation_time": logged_models.c.created_at,
    "last_updated_timestamp": logged_models.c.updated_at,
}

DatasetName = tuple[str, str | None]  # name, digest or any


class Order(NamedTuple):
    """One order term; a metric may be the one measured on one dataset."""

    field: str
    ascending: bool
    dataset_name: str | None
    dataset_digest: str | None


def search_logged_models(
    connection: Connection,
    *,
    experiment_ids: Sequence[int],
    filter_: str,
    datasets: Sequence[DatasetName],
    order_by: Sequence[Order],
    max_results: int,
    page_token: str,
) -> Page:
    """Rows of `logged_models`, newest first by default. Raises InvalidInput."""
    query = select(logged_models).where(
        logged_models.c.experiment_id.in_(experiment_ids), logged_models.c.lifecycle_stage == ACTIVE
    )
    for comparison in parse_filter(filter_):
        query = query.where(_matches(comparison, datasets))
    if datasets and not filter_:
        measured = select(logged_model_metrics.c.model_id).where(_on_datasets(datasets))
        query = query.where(logged_models.c.model_id.in_(measured))
    for order in order_by:
        column = _order_column(order)
        query = query.order_by(column.is_(None).asc(), column.asc() if order.ascending else column.desc())
    query = query.order_by(logged_models.c.created_at.desc(), logged_models.c.model_id)
    return fetch_page(connection, query, max_results=max_results, token=page_token)


def _matches(comparison: Comparison, datasets: Sequence[DatasetName]) -> ColumnElement[bool]:
    entity, key = comparison.name
    if entity == "metric":
        t = logged_model_metrics.c
        having = select(t.model_id).where(
            t.key == key, t.is_nan.is_(False), condition(t.value, require_number(comparison))
        )
        if datasets:
            having = having.where(_on_datasets(datasets))
        return logged_models.c.model_id.in_(having)
    if entity in ("param", "tag"):
        table = logged_model_params if entity == "param" else logged_model_tags
        having = select(table.c.model_id).where(table.c.key == key, condition(table.c.value, require_text(comparison)))
        return logged_models.c.model_id.in_(having)
    if key in _NUMBERS:
        return condition(_NUMBERS[key], require_number(comparison))
    if key in _TEXT:
        return condition(_TEXT[key], require_text(comparison))
    raise _unknown(key)


def _on_datasets(datasets: Sequence[DatasetName]) -> ColumnElement[bool]:
    t = logged_model_metrics.c
    any_of: ColumnElement[bool] = false()
    for name, digest in datasets:
        one = t.dataset_name == name
        any_of = or_(any_of, one if digest is None else and_(one, t.dataset_digest == digest))
    return any_of


def _order_column(order: Order) -> ColumnElement[object]:
    entity, key = parse_name(order.field)
    if entity == "metric":
        t = logged_model_metrics.c
        latest = select(func.max(t.value)).where(t.model_id == logged_models.c.model_id, t.key == key)
        if order.dataset_name is not None:
            latest = latest.where(_on_datasets([(order.dataset_name, order.dataset_digest)]))
        return latest.scalar_subquery()
    column = _NUMBERS.get(key, _TEXT.get(key))
    if column is None:
        raise _unknown(key)
    return column


def _unknown(key: str) -> InvalidInput:
    return InvalidInput(f"logged models have no attribute {key!r}; they have: {', '.join([*_TEXT, *_NUMBERS])}.")
