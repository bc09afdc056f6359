"""Finding experiments by name, times and tags."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from lockgate.errors import InvalidInput
from lockgate.metadata.experiments import ACTIVE, DELETED
from lockgate.metadata.filters import Comparison, condition, parse_filter, require_number, require_text
from lockgate.metadata.pages import Page, fetch_page
from lockgate.metadata.run_search import order_terms
from lockgate.metadata.tables import experiment_tags, experiments

_NUMBERS = {
    "experiment_id": experiments.c.experiment_id,
    "creation_time": experiments.c.created_at,
    "last_update_time": experiments.c.updated_at,
}


def search_experiments(
    connection: Connection, *, filter_: str, order_by: Sequence[str], view: str, max_results: int, page_token: str
) -> Page:
    """Rows of `experiments`, newest first by default. Raises InvalidInput."""
    query = select(experiments)
    if view != "ALL":
        query = query.where(experiments.c.lifecycle_stage == (ACTIVE if view == "ACTIVE_ONLY" else DELETED))
    for comparison in parse_filter(filter_):
        query = query.where(_matches(comparison))
    for (_, key), ascending in order_terms(order_by):
        column = experiments.c.name if key == "name" else _number(key)
        query = query.order_by(column.asc() if ascending else column.desc())
    query = query.order_by(experiments.c.created_at.desc(), experiments.c.experiment_id.desc())
    return fetch_page(connection, query, max_results=max_results, token=page_token)


def _matches(comparison: Comparison) -> ColumnElement[bool]:
    entity, key = comparison.name
    if entity == "tag":
        t = experiment_tags.c
        having = select(t.experiment_id).where(t.key == key, condition(t.value, require_text(comparison)))
        return experiments.c.experiment_id.in_(having)
    if key == "name":
        return condition(experiments.c.name, require_text(comparison))
    return condition(_number(key), require_number(comparison))


def _number(key: str) -> ColumnElement[Any]:
    if key not in _NUMBERS:
        raise InvalidInput(f"experiments have no attribute {key!r}; they have: name, {', '.join(_NUMBERS)}.")
    return _NUMBERS[key]
