"""Pages of many things ask the database as often as pages of few."""

import pytest
from sqlalchemy import event

from lockgate.server.context import Context
from lockgate.server.perform import perform
from lockgate.server.table import BY_NAME
from lockgate.wire.mlflow import experiments, logged_models, registry, runs
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.operation import Message, Operation
from lockgate.wire.registry import LIST_MODELS, ListModels

TAGS = (Tag(key="a", value="b"), Tag(key="c", value="d"))


@pytest.fixture
def database_setting() -> str:
    """The queries are the same on PostgreSQL, which cannot be listened to as easily."""
    return ""


def call(context: Context, operation: Operation, request: Message) -> Message:
    return perform(BY_NAME[operation.name], context, request)


def add(context: Context, number: int) -> None:
    """One of everything, with what hangs on it."""
    name = f"model {number}"
    call(context, experiments.CREATE_EXPERIMENT, experiments.CreateExperiment(name=f"tried {number}", tags=TAGS))
    run_id = call(context, runs.CREATE_RUN, runs.CreateRun(experiment_id="0", tags=TAGS)).run.info.run_id
    metrics = tuple(runs.Metric(key=key, value=1.0, timestamp=1) for key in "ab")
    call(context, runs.LOG_BATCH, runs.LogBatch(run_id=run_id, metrics=metrics, params=TAGS))
    made = logged_models.CreateLoggedModel(experiment_id="0", name=f"logged {number}", tags=TAGS, params=TAGS)
    call(context, logged_models.CREATE_LOGGED_MODEL, made)
    call(context, registry.CREATE_MODEL, registry.CreateRegisteredModel(name=name, tags=TAGS))
    for _ in range(2):
        call(context, registry.CREATE_VERSION, registry.CreateVersion(name=name, source="s3://models/a", tags=TAGS))
    for alias in ("best", "newest"):
        call(context, registry.SET_MODEL_ALIAS, registry.SetModelAlias(name=name, alias=alias, version="2"))


@pytest.mark.parametrize(
    ("operation", "request_", "field"),
    [
        (experiments.SEARCH_EXPERIMENTS, experiments.SearchExperiments(), "experiments"),
        (runs.SEARCH_RUNS, runs.SearchRuns(experiment_ids=("0",)), "runs"),
        (logged_models.SEARCH_LOGGED_MODELS, logged_models.SearchLoggedModels(experiment_ids=("0",)), "models"),
        (registry.SEARCH_MODELS, registry.Search(), "registered_models"),
        (registry.SEARCH_VERSIONS, registry.SearchVersions(), "model_versions"),
        (LIST_MODELS, ListModels(), "models"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_page_of_twelve_takes_as_many_queries_as_one_of_two(
    context: Context, operation: Operation, request_: Message, field: str
) -> None:
    said: list[str] = []
    event.listen(context.database.engine, "checkout", lambda driver, *_: driver.set_trace_callback(said.append))

    def count() -> tuple[int, int]:
        """How many things are found, and by how many queries."""
        call(context, operation, request_)  # what is looked at once
        said.clear()
        return len(getattr(call(context, operation, request_), field)), len(said)

    for number in range(2):
        add(context, number)
    few, queries = count()
    for number in range(2, 12):
        add(context, number)
    many, same = count()
    assert many >= few + 10
    assert 0 < queries == same
