"""Finding runs: a filter, an order and a page -> one query over the latest metrics, params and tags."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from lockgate.errors import InvalidInput
from lockgate.metadata.experiments import ACTIVE, DELETED
from lockgate.metadata.filters import (
    Comparison,
    Name,
    condition,
    parse_filter,
    parse_name,
    require_number,
    require_text,
)
from lockgate.metadata.pages import Page, fetch_page
from lockgate.metadata.tables import datasets, latest_metrics, params, run_datasets, run_tags, runs

_TEXT_ATTRIBUTES = {
    "run_id": runs.c.run_id,
    "run_name": runs.c.run_name,
    "run name": runs.c.run_name,
    "Run name": runs.c.run_name,
    "status": runs.c.status,
    "user_id": runs.c.user_id,
    "artifact_uri": runs.c.artifact_uri,
}
_NUMBER_ATTRIBUTES = {
    "start_time": runs.c.start_time,
    "created": runs.c.start_time,
    "Created": runs.c.start_time,
    "end_time": runs.c.end_time,
}
_TABLES = {"param": params, "tag": run_tags, "metric": latest_metrics}


def search_runs(
    connection: Connection,
    *,
    experiment_ids: Sequence[int],
    filter_: str,
    order_by: Sequence[str],
    view: str,
    max_results: int,
    page_token: str,
) -> Page:
    """Rows of `runs`. Raises InvalidInput for a filter, order or token that cannot be read."""
    query = select(runs).where(runs.c.experiment_id.in_(experiment_ids))
    if view != "ALL":
        query = query.where(runs.c.lifecycle_stage == (ACTIVE if view == "ACTIVE_ONLY" else DELETED))
    for comparison in parse_filter(filter_):
        query = query.where(_matches(comparison))
    query = _ordered(query, order_by)
    return fetch_page(connection, query, max_results=max_results, token=page_token)


def order_terms(order_by: Sequence[str]) -> list[tuple[Name, bool]]:
    """(name, ascending) of `metrics.auc DESC` and the like. Raises InvalidInput."""
    terms = []
    for text in order_by:
        words = text.strip().rsplit(None, 1)
        ascending = True
        if len(words) == 2 and words[1].upper() in ("ASC", "DESC"):
            ascending = words[1].upper() == "ASC"
            words = words[:1]
        if not words:
            raise InvalidInput("an order_by term is empty.")
        terms.append((parse_name(" ".join(words)), ascending))
    return terms


def _matches(comparison: Comparison) -> ColumnElement[bool]:
    entity, key = comparison.name
    if entity in ("", "attribute"):
        return _attribute_matches(comparison)
    if entity == "dataset":
        return _dataset_matches(comparison)
    table = _TABLES[entity]
    having = select(table.c.run_id).where(table.c.key == key)
    if comparison.operator in ("IS NULL", "IS NOT NULL"):
        has = runs.c.run_id.in_(having)
        return has if comparison.operator == "IS NOT NULL" else ~has
    if entity == "metric":
        having = having.where(condition(table.c.value, require_number(comparison)), table.c.is_nan.is_(False))
    else:
        having = having.where(condition(table.c.value, require_text(comparison)))
    return runs.c.run_id.in_(having)


def _attribute_matches(comparison: Comparison) -> ColumnElement[bool]:
    key = comparison.name.key
    if key in _TEXT_ATTRIBUTES:
        return condition(_TEXT_ATTRIBUTES[key], require_text(comparison))
    if key in _NUMBER_ATTRIBUTES:
        return condition(_NUMBER_ATTRIBUTES[key], require_number(comparison))
    raise _unknown(key)


def _dataset_matches(comparison: Comparison) -> ColumnElement[bool]:
    key = comparison.name.key
    using = select(run_datasets.c.run_id).join(datasets, datasets.c.dataset_id == run_datasets.c.dataset_id)
    if key in ("name", "digest"):
        return runs.c.run_id.in_(using.where(condition(datasets.c[key], require_text(comparison))))
    if key == "context":
        return runs.c.run_id.in_(using.where(condition(run_datasets.c.context, require_text(comparison))))
    raise InvalidInput(f"datasets are searched by name, digest or context, not {key!r}.")


def _ordered(query: Select[Any], order_by: Sequence[str]) -> Select[Any]:  # the row type does not matter here
    """Missing values come last whatever the direction; ties go to the newest run."""
    terms: list[ColumnElement[Any]] = []
    for (entity, key), ascending in order_terms(order_by):
        if entity in ("", "attribute"):
            column = _TEXT_ATTRIBUTES.get(key, _NUMBER_ATTRIBUTES.get(key))
            if column is None:
                raise _unknown(key)
        elif entity in _TABLES:
            table = _TABLES[entity].alias()
            on = and_(table.c.run_id == runs.c.run_id, table.c.key == key)
            query = query.outerjoin(table, on)
            column = table.c.value
            if entity == "metric":
                terms.append(or_(column.is_(None), table.c.is_nan).asc())
        else:
            raise InvalidInput(f"runs cannot be ordered by {entity}.")
        if entity != "metric":
            terms.append(column.is_(None).asc())
        terms.append(column.asc() if ascending else column.desc())
    return query.order_by(*terms, runs.c.start_time.desc(), runs.c.run_id)


def _unknown(key: str) -> InvalidInput:
    known = ", ".join(sorted({*_TEXT_ATTRIBUTES, *_NUMBER_ATTRIBUTES} - {"run name", "Run name", "Created"}))
    return InvalidInput(f"runs have no attribute {key!r}; they have: {known}.")
