"""A sample of runs, by which a search estimates."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, func, select

from lockgate.metadata.run_filter import Scope
from lockgate.metadata.tables import runs

SAMPLE, SAMPLE_START = 200, "5"


def sample_runs(*columns: ColumnElement[Any]) -> Subquery:
    """The ids of `SAMPLE` runs, with columns. They are neighbours, and ids are random."""
    neighbours = select(runs.c.run_id, *columns).where(runs.c.run_id > SAMPLE_START)
    return neighbours.order_by(runs.c.run_id).limit(SAMPLE).subquery()


def share_of(connection: Connection, scope: Scope, condition: ColumnElement[bool]) -> float:
    """How many of all runs are in scope and satisfy a condition, by the sample."""
    sample = sample_runs()
    of_sample = select(func.count()).select_from(sample.join(runs, runs.c.run_id == sample.c.run_id))
    return connection.execute(of_sample.where(scope.condition(may_lead=False), condition)).scalar_one() / SAMPLE
