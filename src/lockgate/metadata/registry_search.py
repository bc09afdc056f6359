"""Finding registered models and model versions the way MLflow's clients ask.

Prompts are left out of both searches unless the filter asks for them. As MLflow decides it:

    tags.`mlflow.prompt.is_prompt` = 'true'    the first comparison of the tag is this, or != 'false': the filter asks,
                                               and means what it says
    any other first comparison of the tag      all comparisons of the tag hold for whatever is no prompt

What only our language can say of the tag (with OR, NOT, IN, IS NULL) asks, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Exists, Table, and_, exists, literal, not_, select, true

from lockgate.errors import InvalidInput
from lockgate.metadata.conditions import (
    PRESENCE,
    Columns,
    attribute,
    compare_text,
    comparisons,
    holds,
    require_entity,
    required,
    unknown_attribute,
)
from lockgate.metadata.filters import Comparison, Filter, Name, Value, parse_filter, parse_order
from lockgate.metadata.models import PROMPT_TAG
from lockgate.metadata.ordering import column_sorts
from lockgate.metadata.pages import Page, Sort, Stretch, fetch_page
from lockgate.metadata.patterns import fits_any
from lockgate.metadata.tables import (
    model_version_tags,
    model_versions,
    registered_model_tags,
    registered_models,
)

LARGEST_MODELS = 1_000
LARGEST_VERSIONS = 200_000

_PROMPT = Name("tag", PROMPT_TAG)
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
    connection: Connection,
    *,
    filter_: str,
    order_by: Sequence[str],
    max_results: int,
    page_token: str,
    seen: Sequence[str] | None = None,
) -> Page:
    """Rows of `registered_models`, by name unless told otherwise. Raises InvalidInput.

    Where `seen` is given, only names that fit one of its patterns are there, for the filter and for the token too.
    """
    _require_page_size(max_results, LARGEST_MODELS)
    tree = parse_filter(filter_)
    asked = _asks_for_prompts(tree)
    t = registered_model_tags.c
    tagged = exists().where(t.name == registered_models.c.name)

    def matches(comparison: Comparison) -> ColumnElement[bool]:
        if require_entity(comparison.name, ("attribute", "tag"), of="registered models") == "tag":
            return _tag_matches(comparison, tagged, registered_model_tags, asked)
        return attribute(_with_slashes(comparison), of="registered models", texts=_MODEL_TEXTS, numbers=_MODEL_NUMBERS)

    sorts = _sorts(order_by, {**_MODEL_TEXTS, **_MODEL_NUMBERS}, of="orders of registered models")
    query = select(registered_models).where(holds(tree, matches), fits_any(connection, seen, registered_models.c.name))
    if not asked:
        query = query.where(not_(_prompts(registered_model_tags).where(t.name == registered_models.c.name)))
    stretch = Stretch(query, (*sorts, Sort(registered_models.c.name, True, str)))
    return fetch_page(
        connection, [stretch], max_results=max_results, token=page_token, question=(filter_, tuple(order_by))
    )


def search_versions(
    connection: Connection,
    *,
    filter_: str,
    order_by: Sequence[str],
    max_results: int,
    page_token: str,
    seen: Sequence[str] | None = None,
) -> Page:
    """Rows of `model_versions`, the latest changed first unless told otherwise; `seen` as for models.

    Raises InvalidInput.

    One version that has the tag of prompts makes all of its name a prompt's.
    """
    _require_page_size(max_results, LARGEST_VERSIONS)
    tree = parse_filter(filter_)
    asked = _asks_for_prompts(tree)
    v, t = model_versions.c, model_version_tags.c
    tagged = exists().where(and_(t.name == v.name, t.version == v.version))

    def matches(comparison: Comparison) -> ColumnElement[bool]:
        if require_entity(comparison.name, ("attribute", "tag"), of="model versions") == "tag":
            return _tag_matches(comparison, tagged, model_version_tags, asked)
        is_number = comparison.name.key in _VERSION_NUMBERS
        found = _in_whole_numbers(comparison) if is_number else _with_slashes(comparison)
        return attribute(found, of="model versions", texts=_VERSION_TEXTS, numbers=_VERSION_NUMBERS)

    sorts = _sorts(order_by, {**_VERSION_TEXTS, **_VERSION_NUMBERS}, of="orders of model versions")
    query = select(model_versions).where(holds(tree, matches), fits_any(connection, seen, v.name))
    if not asked:
        query = query.where(not_(_prompts(model_version_tags).where(t.name == v.name)))
    stretch = Stretch(
        query,
        (*(sorts or [Sort(v.updated_at, False, int)]), Sort(v.name, True, str), Sort(v.version, False, int)),
    )
    return fetch_page(
        connection,
        [stretch],
        max_results=max_results,
        token=page_token,
        question=(filter_, tuple(order_by)),
        largest=LARGEST_VERSIONS,
    )


def _require_page_size(max_results: int, largest: int) -> None:
    """Raises InvalidInput in the words of MLflow's server, to which every value of a query is a text."""
    if max_results > largest:
        raise InvalidInput(
            f"Invalid value \"{max_results}\" for parameter 'max_results' supplied:  Hint: Value was of type 'str'. "
            "See the API docs for more information about request parameters.",
            hint=f"ask for at most {largest}, and with the page token for those that follow",
        )
    if max_results < 1:
        raise InvalidInput(f"Invalid value for max_results. It must be a positive integer, but got {max_results}")


def _asks_for_prompts(tree: Filter) -> bool:
    first = next((comparison for comparison in comparisons(tree) if comparison.name == _PROMPT), None)
    if first is None:
        return False
    can_mlflow_say_it = first.operator in ("=", "!=", "LIKE", "ILIKE") and any(c is first for c in required(tree))
    if not can_mlflow_say_it:
        return True
    return (first.operator, str(first.value).lower()) in (("=", "true"), ("!=", "false"))


def _prompts(tags: Table) -> Exists:
    # Written out rather than bound: the index of these rows serves only what is known to be among them.
    key, value = (literal(text, literal_execute=True) for text in (PROMPT_TAG, "true"))
    return exists().where(tags.c.key == key, tags.c.value == value)


def _tag_matches(comparison: Comparison, tagged: Exists, table: Table, asked: bool) -> ColumnElement[bool]:
    having = tagged.where(table.c.key == comparison.name.key)
    if comparison.operator in PRESENCE:
        return not_(having) if comparison.operator == "IS NULL" else having
    found = having.where(compare_text(table.c.value, comparison))
    return true() if comparison.name == _PROMPT and not asked else found


def _in_whole_numbers(comparison: Comparison) -> Comparison:
    """MLflow takes numbers with and without quotes, and none with a fraction. Raises InvalidInput."""
    return _with_values(comparison, partial(_whole_number, comparison.name.key))


def _with_slashes(comparison: Comparison) -> Comparison:
    """`%2F` in a name stands for `/`, as in all requests; in a pattern the `%` stands for any text."""
    if comparison.name.key != "name" or comparison.operator.endswith("LIKE"):
        return comparison
    return _with_values(comparison, _with_slash)


def _with_values(comparison: Comparison, change: Callable[[Value], Value]) -> Comparison:
    value = comparison.value
    if value is None:
        return comparison
    return replace(comparison, value=tuple(map(change, value)) if isinstance(value, tuple) else change(value))


def _with_slash(value: Value) -> Value:
    return value.replace("%2F", "/").replace("%2f", "/") if isinstance(value, str) else value


def _whole_number(key: str, value: Value) -> int:
    try:
        if isinstance(value, float):
            raise ValueError
        number = int(value)
        if not -(2**63) <= number < 2**63:
            raise ValueError
    except ValueError:
        raise InvalidInput(f"Invalid value for numeric attribute '{key}': {value!r}") from None
    return number


def _sorts(order_by: Sequence[str], columns: dict[str, ColumnElement[Any]], *, of: str) -> list[Sort]:
    sorts = []
    for name, ascending in parse_order(order_by):
        if not name.is_attribute or name.key not in columns:
            raise unknown_attribute(name.key, of=of, known=columns)
        sorts += column_sorts(columns[name.key], ascending)
    return sorts
