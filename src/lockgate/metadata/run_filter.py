"""What of a filter means which rows: a comparison -> a condition on a run, or the runs that an index leads to."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    false,
    func,
    literal,
    not_,
    select,
    true,
)

from lockgate.metadata.conditions import (
    PRESENCE,
    attribute,
    compare_indexed_text,
    compare_metric,
    compare_text,
    holds,
    require_entity,
    unknown_attribute,
)
from lockgate.metadata.filters import Comparison, Filter, Order
from lockgate.metadata.tables import datasets, key_of, latest_metrics, params, run_datasets, run_tags, runs

Ids: TypeAlias = Select[tuple[str]]

_TEXTS = {
    "run_id": runs.c.run_id,
    "run_name": runs.c.run_name,
    "run name": runs.c.run_name,
    "Run name": runs.c.run_name,
    "Run Name": runs.c.run_name,
    "status": runs.c.status,
    "user_id": runs.c.user_id,
    "artifact_uri": runs.c.artifact_uri,
}
_NUMBERS = {
    "start_time": runs.c.start_time,
    "created": runs.c.start_time,
    "Created": runs.c.start_time,
    "end_time": runs.c.end_time,
}
_KNOWN = ("run_id", "run_name", "status", "user_id", "artifact_uri", "start_time", "end_time")
TABLES = {"metric": latest_metrics, "param": params, "tag": run_tags}
_DATASET_COLUMNS = {"name": datasets.c.name, "digest": datasets.c.digest, "context": run_datasets.c.context}
# The comparisons of a text that an index of texts leads to.
_LED = ("=", "IN")
_ENTITIES = ("attribute", "metric", "param", "tag", "dataset")


@dataclass(frozen=True)
class Scope:
    """Where to look: experiments and life-cycle stages."""

    experiment_ids: tuple[int, ...]
    stages: tuple[str, ...]
    is_sqlite: bool

    @property
    def is_one(self) -> bool:
        return len(self.experiment_ids) == 1 and len(self.stages) == 1

    def condition(self, *, may_lead: bool) -> ColumnElement[bool]:
        """`may_lead` False keeps a database from starting at an index of experiments.

        SQLite has no statistics that tell when this is long, and PostgreSQL not always.
        """
        # Written into the statement: there may be more experiments than a statement may have parameters.
        ids = bindparam("experiment_ids", list(self.experiment_ids), BigInteger(), expanding=True, literal_execute=True)
        experiment, stage = runs.c.experiment_id, runs.c.lifecycle_stage
        within = and_(
            experiment == self.experiment_ids[0] if len(self.experiment_ids) == 1 else experiment.in_(ids),
            stage == self.stages[0] if len(self.stages) == 1 else stage.in_(self.stages),
        )
        return within if may_lead else func.coalesce(within, false())  # no index has this expression


def satisfies(tree: Filter, run_id: ColumnElement[str] = runs.c.run_id) -> ColumnElement[bool]:
    """The condition on a row of `runs`. Raises InvalidInput for what runs do not have or cannot be compared so.

    `run_id` is the same in a table that is read first: what needs no more of the run is then checked before the run
    is looked up.
    """
    return holds(tree, partial(_matches, run_id=run_id), looked_up=TABLES)


def _matches(comparison: Comparison, run_id: ColumnElement[str]) -> ColumnElement[bool]:
    key, operator = comparison.name.key, comparison.operator
    entity = require_entity(comparison.name, _ENTITIES, of="runs")
    if entity == "attribute":
        return attribute(comparison, of="runs", texts=_TEXTS, numbers=_NUMBERS)
    if entity == "dataset":
        has = _using(comparison).where(run_datasets.c.run_id == run_id).exists()
        return not_(has) if operator == "IS NULL" else has
    t, of_value = TABLES[entity], _of_value(comparison, compare_text)
    said = select(of_value).where(is_said(t, key, run_id))
    if operator == "=" and entity != "metric":
        said = by_value(said.where(of_value), t, entity)  # of several values SQLite would look for each
    # A value, not EXISTS: PostgreSQL would join that, and think about the order of eight tables for 30 ms.
    answer = func.coalesce(said.scalar_subquery(), false())
    return not_(answer) if operator == "IS NULL" else answer


def is_said(t: FromClause, key: str, run_id: ColumnElement[str]) -> ColumnElement[bool]:
    """That a row of a table, or of an alias of it, is what one run, read before, has by this key."""
    return and_(t.c.run_id == run_id, t.c.key == key_of(literal(key, Text()), run_id))


def by_value(query: Select[Any], t: FromClause, entity: str) -> Select[Any]:
    """Whether a run has one value, looked up in the index of values; `t` is the entity's table or an alias of it.

    SQLite's ends with the run, and the runs of a value lie together in it. By the primary key each is on a page of its
    own, and reading that takes longer than all else.
    """
    index = "key_is_nan_value" if entity == "metric" else "key_value"
    return query.with_hint(t, f"INDEXED BY ix_{TABLES[entity].name}_{index}", "sqlite")


def leading_to(comparison: Comparison) -> Ids | None:
    """The runs that satisfy it, where an index leads to them; None elsewhere."""
    (entity, key), operator = comparison.name, comparison.operator
    if operator == "IS NULL" or operator == "!=" or operator.startswith("NOT "):
        return None
    if entity != "metric" and operator not in _LED:
        return None
    if entity in TABLES:
        of_value = _of_value(comparison, compare_indexed_text)
        return select(TABLES[entity].c.run_id).where(TABLES[entity].c.key == key, of_value)
    if entity == "dataset":
        return _using(comparison)
    if _TEXTS.get(key) is runs.c.run_name:
        return select(runs.c.run_id).where(compare_indexed_text(runs.c.run_name, comparison))
    if key == "run_id":
        return select(runs.c.run_id).where(compare_text(runs.c.run_id, comparison))
    return None


def order_column(order: Order) -> Any:  # a column of `runs`, of text or of whole numbers
    """Raises InvalidInput for an attribute that runs do not have."""
    key = order.name.key
    column = _TEXTS.get(key, _NUMBERS.get(key))
    if column is None:
        raise unknown_attribute(key, of="runs", known=_KNOWN)
    return column


def _of_value(comparison: Comparison, of_text: Callable[..., ColumnElement[bool]]) -> ColumnElement[bool]:
    """Of a metric, param or tag that is there."""
    entity = comparison.name.entity
    if comparison.operator in PRESENCE:
        return true()
    if entity == "metric":
        return compare_metric(latest_metrics.c.value, latest_metrics.c.is_nan, comparison)
    return of_text(TABLES[entity].c.value, comparison)


def _using(comparison: Comparison) -> Ids:
    """Runs that read such a dataset."""
    key = comparison.name.key
    if key not in _DATASET_COLUMNS:
        raise unknown_attribute(key, of="datasets", known=_DATASET_COLUMNS)
    ids = select(run_datasets.c.run_id).join(datasets, datasets.c.dataset_id == run_datasets.c.dataset_id)
    if key == "context":
        ids = ids.where(run_datasets.c.context != "")  # which stands for none
    return ids if comparison.operator in PRESENCE else ids.where(compare_text(_DATASET_COLUMNS[key], comparison))
