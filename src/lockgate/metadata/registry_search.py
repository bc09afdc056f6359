"""Finding registered models and model versions the way MLflow's clients ask."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select, tuple_

from lockgate.errors import InvalidInput
from lockgate.metadata.filters import Comparison, condition, parse_filter, require_number, require_text
from lockgate.metadata.pages import Page, fetch_page
from lockgate.metadata.run_search import order_terms
from lockgate.metadata.tables import (
    model_version_tags,
    model_versions,
    registered_model_tags,
    registered_models,
)

PROMPT_TAG = "mlflow.prompt.is_prompt"

_MODEL_COLUMNS = {
    "name": registered_models.c.name,
    "creation_timestamp": registered_models.c.created_at,
    "timestamp": registered_models.c.updated_at,
    "last_updated_timestamp": registered_models.c.updated_at,
}
_VERSION_COLUMNS = {
    "name": model_versions.c.name,
    "run_id": model_versions.c.run_id,
    "source_path": model_versions.c.source,
    "version_number": model_versions.c.version,
    "creation_timestamp": model_versions.c.created_at,
    "last_updated_timestamp": model_versions.c.updated_at,
}
_NUMBERS = {"version_number", "creation_timestamp", "last_updated_timestamp", "timestamp"}


def search_models(
    connection: Connection, *, filter_: str, order_by: Sequence[str], max_results: int, page_token: str
) -> Page:
    """Rows of `registered_models`, by name unless told otherwise. Raises InvalidInput."""
    query = select(registered_models)
    for comparison in parse_filter(filter_):
        entity, key = comparison.name
        if entity == "tag":
            t = registered_model_tags.c
            having = select(t.name).where(t.key == key, condition(t.value, _without_prompts(comparison)))
            query = query.where(_holds(registered_models.c.name.in_(having), comparison))
        else:
            query = query.where(_attribute(comparison, _MODEL_COLUMNS))
    query = _ordered(query, order_by, _MODEL_COLUMNS).order_by(registered_models.c.name)
    return fetch_page(connection, query, max_results=max_results, token=page_token)


def search_versions(
    connection: Connection, *, filter_: str, order_by: Sequence[str], max_results: int, page_token: str
) -> Page:
    """Rows of `model_versions`, the latest changed first unless told otherwise. Raises InvalidInput."""
    query = select(model_versions)
    for comparison in parse_filter(filter_):
        entity, key = comparison.name
        if entity == "tag":
            t = model_version_tags.c
            having = select(t.name, t.version).where(t.key == key, condition(t.value, _without_prompts(comparison)))
            tagged = tuple_(model_versions.c.name, model_versions.c.version).in_(having)
            query = query.where(_holds(tagged, comparison))
        else:
            query = query.where(_attribute(comparison, _VERSION_COLUMNS))
    t = model_versions.c
    query = _ordered(query, order_by, _VERSION_COLUMNS).order_by(t.updated_at.desc(), t.name, t.version.desc())
    return fetch_page(connection, query, max_results=max_results, token=page_token)


def _excludes_prompts(comparison: Comparison) -> bool:
    """MLflow's clients always ask for what is not a prompt: that must hold for everything without the tag."""
    return comparison.name.key == PROMPT_TAG and comparison.operator == "!="


def _without_prompts(comparison: Comparison) -> Comparison:
    text = require_text(comparison)
    return text._replace(operator="=") if _excludes_prompts(comparison) else text


def _holds(tagged: ColumnElement[bool], comparison: Comparison) -> ColumnElement[bool]:
    return ~tagged if _excludes_prompts(comparison) else tagged


def _attribute(comparison: Comparison, columns: dict[str, Any]) -> ColumnElement[bool]:
    key = comparison.name.key
    if key not in columns:
        raise InvalidInput(f"cannot search by {key!r}; use {', '.join(columns)} or tags.")
    if key in _NUMBERS:
        return condition(columns[key], require_number(comparison))
    return condition(columns[key], require_text(comparison))


def _ordered(query: Select[Any], order_by: Sequence[str], columns: dict[str, Any]) -> Select[Any]:
    for (_, key), ascending in order_terms(order_by):
        if key not in columns:
            raise InvalidInput(f"cannot order by {key!r}; use {', '.join(columns)}.")
        query = query.order_by(columns[key].asc() if ascending else columns[key].desc())
    return query
