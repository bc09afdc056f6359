"""Finding experiments by name, id, times and tags."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, exists, not_, select

from lockgate.errors import InvalidInput
from lockgate.metadata.conditions import PRESENCE, attribute, compare_text, holds, require_entity, unknown_attribute
from lockgate.metadata.experiments import ACTIVE, DELETED
from lockgate.metadata.filters import Comparison, Value, parse_filter, parse_order
from lockgate.metadata.ordering import column_sorts
from lockgate.metadata.pages import Page, Sort, Stretch, fetch_page
from lockgate.metadata.patterns import fits_any
from lockgate.metadata.tables import experiment_tags, experiments

_TEXTS = {"name": experiments.c.name}
_NUMBERS = {
    "experiment_id": experiments.c.experiment_id,
    "creation_time": experiments.c.created_at,
    "last_update_time": experiments.c.updated_at,
}
_NOMINAL = ("=", "!=", "IN", "NOT IN")


def search_experiments(
    connection: Connection,
    *,
    filter_: str,
    order_by: Sequence[str],
    view: str,
    max_results: int,
    page_token: str,
    seen: Sequence[str] | None = None,
) -> Page:
    """Rows of `experiments`, newest first by default. Raises InvalidInput.

    Where `seen` is given, only names that fit one of its patterns are there, for the filter and for the token too.
    """
    found = fits_any(connection, seen, experiments.c.name)
    query = select(experiments).where(holds(parse_filter(filter_), _matches), found)
    if view != "ALL":
        query = query.where(experiments.c.lifecycle_stage == (ACTIVE if view == "ACTIVE_ONLY" else DELETED))
    stretch = Stretch(query, _sorts(order_by))
    question = (filter_, tuple(order_by), view)
    return fetch_page(connection, [stretch], max_results=max_results, token=page_token, question=question)


def _sorts(order_by: Sequence[str]) -> tuple[Sort, ...]:
    identity = experiments.c.experiment_id
    if not order_by:
        return (Sort(experiments.c.created_at, False, int), Sort(identity, True, int))
    sorts = []
    for name, ascending in parse_order(order_by):
        column = _NUMBERS.get(name.key, _TEXTS.get(name.key))
        if not name.is_attribute or column is None:
            raise unknown_attribute(name.key, of="orders of experiments", known=[*_TEXTS, *_NUMBERS])
        sorts += column_sorts(column, ascending)
    return (*sorts, Sort(identity, False, int))


def _matches(comparison: Comparison) -> ColumnElement[bool]:
    key, operator = comparison.name.key, comparison.operator
    if require_entity(comparison.name, ("attribute", "tag"), of="experiments") == "attribute":
        if key == "experiment_id":
            comparison = _of_ids(comparison)
        return attribute(comparison, of="experiments", texts=_TEXTS, numbers=_NUMBERS)
    t = experiment_tags.c
    having = exists().where(t.experiment_id == experiments.c.experiment_id, t.key == key)
    if operator in PRESENCE:
        return not_(having) if operator == "IS NULL" else having
    return having.where(compare_text(t.value, comparison))


def _of_ids(comparison: Comparison) -> Comparison:
    """Ids are written in quotes and kept as numbers; they are equal or not, and nothing else."""
    if comparison.operator not in _NOMINAL:
        raise InvalidInput(f"experiment_id is compared with {', '.join(_NOMINAL)}, not {comparison.operator}.")
    value = comparison.value
    ids = tuple(map(_id, value)) if isinstance(value, tuple) else _id(value)
    return Comparison(comparison.name, comparison.operator, ids)


def _id(value: Value | None) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    raise InvalidInput(f"Invalid experiment ID '{value}'. Experiment ID must be a valid integer.")
