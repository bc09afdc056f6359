"""Finding logged models by attributes, params, tags and metrics, the latter perhaps on one dataset."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, String, and_, case, cast, exists, false, func, not_, or_, select, true

from lockgate.errors import InvalidInput
from lockgate.metadata.conditions import (
    PRESENCE,
    attribute,
    compare_metric,
    compare_text,
    comparisons,
    holds,
    require_entity,
    unknown_attribute,
)
from lockgate.metadata.experiments import ACTIVE
from lockgate.metadata.filters import Comparison, parse_filter, parse_name
from lockgate.metadata.ordering import column_sorts, value_sorts
from lockgate.metadata.pages import Page, Sort, Stretch, fetch_page
from lockgate.metadata.tables import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
)

_TEXTS = {
    "name": logged_models.c.name,
    "model_id": logged_models.c.model_id,
    # What a model does not have is an empty text to those who compare or order, as with MLflow's server.
    "model_type": func.coalesce(logged_models.c.model_type, ""),
    "status": logged_models.c.status,
    "source_run_id": func.coalesce(logged_models.c.source_run_id, ""),
    "artifact_location": logged_models.c.artifact_uri,
    "experiment_id": cast(logged_models.c.experiment_id, String),
    "lifecycle_stage": logged_models.c.lifecycle_stage,
}
_MAY_BE_MISSING = {"model_type": logged_models.c.model_type, "source_run_id": logged_models.c.source_run_id}
_NUMBERS = {
    "creation_timestamp": logged_models.c.created_at,
    "creation_time": logged_models.c.created_at,
    "creation_timestamp_ms": logged_models.c.created_at,
    "last_updated_timestamp": logged_models.c.updated_at,
    "last_updated_timestamp_ms": logged_models.c.updated_at,
}
_ENTITIES = ("attribute", "metric", "param", "tag")
_OF_ONE_VALUE = ("=", "!=", "LIKE", "ILIKE")

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

    def matches(comparison: Comparison) -> ColumnElement[bool]:
        return _matches(comparison, datasets)

    tree = parse_filter(filter_)
    query = select(logged_models).where(
        logged_models.c.experiment_id.in_(experiment_ids),
        logged_models.c.lifecycle_stage == ACTIVE,
        holds(tree, matches),
    )
    if datasets and not any(comparison.name.entity == "metric" for comparison in comparisons(tree)):
        t = logged_model_metrics.c
        query = query.where(exists().where(t.model_id == logged_models.c.model_id, _on_any(datasets)))
    sorts = [sort for order in order_by for sort in _sorts(order)]
    sorts += [Sort(logged_models.c.created_at, False, int), Sort(logged_models.c.model_id, True, str)]
    question = (sorted(experiment_ids), filter_, tuple(datasets), tuple(order_by))
    stretch = Stretch(query, tuple(sorts))
    return fetch_page(connection, [stretch], max_results=max_results, token=page_token, question=question)


def _matches(comparison: Comparison, datasets: Sequence[DatasetName]) -> ColumnElement[bool]:
    key, operator = comparison.name.key, comparison.operator
    entity = require_entity(comparison.name, _ENTITIES, of="logged models")
    if entity == "attribute":
        texts = {**_TEXTS, **_MAY_BE_MISSING} if operator in PRESENCE else _TEXTS
        return attribute(comparison, of="logged models", texts=texts, numbers=_NUMBERS)
    t = {"metric": logged_model_metrics, "param": logged_model_params, "tag": logged_model_tags}[entity].c
    having = exists().where(t.model_id == logged_models.c.model_id, t.key == key)
    if entity == "metric" and datasets:
        having = having.where(_on_any(datasets))
    if operator in PRESENCE:
        return not_(having) if operator == "IS NULL" else having
    if entity != "metric":
        return having.where(compare_text(t.value, _of_text(comparison)))
    return having.where(compare_metric(t.value, t.is_nan, comparison))


def _of_text(comparison: Comparison) -> Comparison:
    """`params.lr = 1e-3` asks for the text '1e-3' here, as it does in MLflow. Filters of runs want the quotes."""
    if comparison.number and comparison.operator in _OF_ONE_VALUE:
        return Comparison(comparison.name, comparison.operator, comparison.number)
    return comparison


def _on_any(datasets: Sequence[DatasetName]) -> ColumnElement[bool]:
    t = logged_model_metrics.c
    return or_(
        false(),
        *(
            t.dataset_name == name if digest is None else and_(t.dataset_name == name, t.dataset_digest == digest)
            for name, digest in datasets
        ),
    )


def _sorts(order: Order) -> list[Sort]:
    name = parse_name(order.field)
    key = name.key
    if name.entity == "metric":
        return _metric_sorts(key, order)
    if not name.is_attribute:
        raise InvalidInput(f"logged models are ordered by attributes and metrics, not by {order.field!r}.")
    column = _NUMBERS.get(key, _TEXTS.get(key))
    if column is None:
        raise unknown_attribute(key, of="orders of logged models", known=[*_TEXTS, *_NUMBERS])
    return column_sorts(column, order.ascending)


def _metric_sorts(key: str, order: Order) -> list[Sort]:
    """By the latest value of the metric, on the dataset if one is named; NaN counts as missing."""
    t = logged_model_metrics.c
    value = case((t.is_nan == true(), None), else_=t.value)
    latest = select(value).where(t.model_id == logged_models.c.model_id, t.key == key)
    if order.dataset_name:
        latest = latest.where(t.dataset_name == order.dataset_name)
    if order.dataset_digest:
        latest = latest.where(t.dataset_digest == order.dataset_digest)
    latest = latest.order_by(t.timestamp.desc(), t.step.desc(), t.run_id).limit(1)
    return value_sorts(latest.scalar_subquery(), order.ascending, float)
