"""Finding registered models and model versions the way MLflow's clients ask."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Exists, Table, and_, exists, not_, or_, select

from lockgate.metadata.conditions import (
    PRESENCE,
    Columns,
    attribute,
    compare_text,
    holds,
    require_entity,
    unknown_attribute,
)
from lockgate.metadata.filters import Comparison, parse_filter, parse_order
from lockgate.metadata.models import PROMPT_TAG
from lockgate.metadata.ordering import column_sorts
from lockgate.metadata.pages import Page, Sort, Stretch, fetch_page
from lockgate.metadata.tables import (
    model_version_tags,
    model_versions,
    registered_model_tags,
    registered_models,
)

_MODEL_TEXTS: Columns = {"name": registered_models.c.name}
_MODEL_NUMBERS: Columns = {
    "creation_timestamp": registered_models.c.created_at,
    "timestamp": registered_models.c.updated_at,
    "last_updated_timestamp": registered_models.c.updated_at,
}
_VERSION_TEXTS: Columns = {
    "name": model_versions.c.name,
    "run_id": model_versions.c.run_id,
    "source_path": model_versions.c.source,
}
_VERSION_NUMBERS: Columns = {
    "version_number": model_versions.c.version,
    "creation_timestamp": model_versions.c.created_at,
    "last_updated_timestamp": model_versions.c.updated_at,
}


def search_models(
    connection: Connection, *, filter_: str, order_by: Sequence[str], max_results: int, page_token: str
) -> Page:
    """Rows of `registered_models`, by name unless told otherwise. Raises InvalidInput."""
    t = registered_model_tags.c
    tagged = exists().where(t.name == registered_models.c.name)

    def matches(comparison: Comparison) -> ColumnElement[bool]:
        if require_entity(comparison.name, ("attribute", "tag"), of="registered models") == "tag":
            return _tag_matches(comparison, tagged, registered_model_tags)
        return attribute(comparison, of="registered models", texts=_MODEL_TEXTS, numbers=_MODEL_NUMBERS)

    sorts = _sorts(order_by, {**_MODEL_TEXTS, **_MODEL_NUMBERS}, of="orders of registered models")
    stretch = Stretch(
        select(registered_models).where(holds(parse_filter(filter_), matches)),
        (*sorts, Sort(registered_models.c.name, True, str)),
    )
    question = (filter_, tuple(order_by))
    return fetch_page(connection, [stretch], max_results=max_results, token=page_token, question=question)


def search_versions(
    connection: Connection, *, filter_: str, order_by: Sequence[str], max_results: int, page_token: str
) -> Page:
    """Rows of `model_versions`, the latest changed first unless told otherwise. Raises InvalidInput."""
    v, t = model_versions.c, model_version_tags.c
    tagged = exists().where(and_(t.name == v.name, t.version == v.version))

    def matches(comparison: Comparison) -> ColumnElement[bool]:
        if require_entity(comparison.name, ("attribute", "tag"), of="model versions") == "tag":
            return _tag_matches(comparison, tagged, model_version_tags)
        return attribute(comparison, of="model versions", texts=_VERSION_TEXTS, numbers=_VERSION_NUMBERS)

    sorts = _sorts(order_by, {**_VERSION_TEXTS, **_VERSION_NUMBERS}, of="orders of model versions")
    stretch = Stretch(
        select(model_versions).where(holds(parse_filter(filter_), matches)),
        (*sorts, Sort(v.updated_at, False, int), Sort(v.name, True, str), Sort(v.version, False, int)),
    )
    question = (filter_, tuple(order_by))
    return fetch_page(connection, [stretch], max_results=max_results, token=page_token, question=question)


def _tag_matches(comparison: Comparison, tagged: Exists, table: Table) -> ColumnElement[bool]:
    key, operator, value = comparison.name.key, comparison.operator, comparison.value
    having = tagged.where(table.c.key == key)
    if operator in PRESENCE:
        return not_(having) if operator == "IS NULL" else having
    found = having.where(compare_text(table.c.value, comparison))
    if key == PROMPT_TAG and (operator, value) in (("!=", "true"), ("=", "false")):
        return or_(found, not_(having))  # what lacks the tag is no prompt: MLflow's clients ask for models like this
    return found


def _sorts(order_by: Sequence[str], columns: dict[str, ColumnElement[Any]], *, of: str) -> list[Sort]:
    sorts = []
    for (entity, key), ascending in parse_order(order_by):
        if entity not in ("", "attribute") or key not in columns:
            raise unknown_attribute(key, of=of, known=columns)
        sorts += column_sorts(columns[key], ascending)
    return sorts
