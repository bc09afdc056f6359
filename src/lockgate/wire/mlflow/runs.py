"""Runs with their metrics, params, tags, and what they read and made.

JSON has no NaN and no infinity: protobuf's mapping writes them as the strings "NaN", "Infinity" and "-Infinity", and
so does `number_out`. Old clients name a run by `run_uuid`, so requests take either.
"""

import math
from typing import Annotated, Literal

import msgspec

from lockgate.errors import InvalidInput
from lockgate.wire.mlflow.experiments import Tag, Text, ViewType
from lockgate.wire.operation import Empty, Message, Operation, mlflow

RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
Number = float | str
# What protobuf calls int64, and a database can keep.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


def number_out(value: float) -> Number:
    """A double as protobuf's JSON mapping writes it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def number_in(value: Number, name: str) -> float:
    """Raises InvalidInput naming the metric."""
    try:
        return float(value)
    except ValueError:
        raise InvalidInput(f"the value of metric {name!r} is not a number: {value!r}.") from None


class Metric(Message, frozen=True, kw_only=True, gc=False):
    key: str
    value: Number
    timestamp: Int64
    step: Int64 | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    run_id: str | None = None


class RunInfo(Message, frozen=True, kw_only=True):
    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: RunStatus
    start_time: int
    end_time: int | None = None
    artifact_uri: str
    lifecycle_stage: str


class RunData(Message, frozen=True, kw_only=True):
    metrics: tuple[Metric, ...] = ()
    params: tuple[Tag, ...] = ()
    tags: tuple[Tag, ...] = ()


class Dataset(Message, frozen=True, kw_only=True):
    name: str
    digest: str
    # From factories, which are said also where they are empty, as MLflow's server does it.
    source_type: str = msgspec.field(default_factory=str)
    source: str = msgspec.field(default_factory=str)
    schema: str | None = None
    profile: str | None = None


class DatasetInput(Message, frozen=True, kw_only=True):
    tags: tuple[Tag, ...] = ()
    dataset: Dataset


class ModelInput(Message, frozen=True, kw_only=True):
    model_id: str


class ModelOutput(Message, frozen=True, kw_only=True):
    model_id: str
    step: Int64 | None = None


class RunInputs(Message, frozen=True, kw_only=True):
    dataset_inputs: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[ModelInput, ...] = ()


class RunOutputs(Message, frozen=True, kw_only=True):
    model_outputs: tuple[ModelOutput, ...] = ()


class Run(Message, frozen=True, kw_only=True):
    info: RunInfo
    data: RunData
    inputs: RunInputs = RunInputs()
    outputs: RunOutputs | None = None  # of a run that was just created nothing is said


class RunMessage(Message, frozen=True, kw_only=True):
    run: Run


class OfRun(Message, frozen=True, kw_only=True):
    """Base of requests about one run."""

    run_id: str = ""
    run_uuid: str = ""

    @property
    def id(self) -> str:
        """Raises InvalidInput where the request names no run."""
        found = self.run_id or self.run_uuid
        if not found:
            raise InvalidInput("Missing value for required parameter 'run_id'.")
        return found


class CreateRun(Message, frozen=True, kw_only=True):
    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: Int64 | None = None
    tags: tuple[Tag, ...] = ()


class UpdateRun(OfRun, frozen=True, kw_only=True):
    status: RunStatus | None = None
    end_time: Int64 | None = None
    run_name: str | None = None


class UpdatedRun(Message, frozen=True, kw_only=True):
    run_info: RunInfo


class LogMetric(OfRun, frozen=True, kw_only=True):
    key: str
    value: Number
    timestamp: Int64
    step: Int64 = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogParam(OfRun, frozen=True, kw_only=True):
    key: str
    value: str = ""


class SetRunTag(OfRun, frozen=True, kw_only=True):
    key: str
    value: str = ""


class DeleteRunTag(OfRun, frozen=True, kw_only=True):
    key: Text


class LogBatch(OfRun, frozen=True, kw_only=True):
    metrics: tuple[Metric, ...] = ()
    params: tuple[Tag, ...] = ()
    tags: tuple[Tag, ...] = ()


class LogInputs(OfRun, frozen=True, kw_only=True):
    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[ModelInput, ...] = ()


class LogOutputs(OfRun, frozen=True, kw_only=True):
    models: tuple[ModelOutput, ...]


class LogRunModel(OfRun, frozen=True, kw_only=True):
    """What clients before MLflow 3 say when they log a model; it becomes a tag of the run."""

    model_json: str


class SearchRuns(Message, frozen=True, kw_only=True):
    experiment_ids: tuple[str, ...] = ()
    filter: str = ""
    run_view_type: ViewType = "ACTIVE_ONLY"
    max_results: int = 1000
    order_by: tuple[str, ...] = ()
    page_token: str = ""


class RunPage(Message, frozen=True, kw_only=True):
    runs: tuple[Run, ...] = ()
    next_page_token: str = ""


class MetricHistory(OfRun, frozen=True, kw_only=True):
    metric_key: str
    page_token: str = ""
    max_results: int | None = None


class Histories(Message, frozen=True, kw_only=True):
    """What MLflow's pages ask for their charts: one metric of several runs."""

    run_ids: tuple[str, ...] = msgspec.field(default=(), name="run_id")  # once for each
    metric_key: str | None = None
    max_results: int = 25_000


class SampledHistories(Message, frozen=True, kw_only=True):
    """A spread sample of one metric of several runs, at most `max_results` values a run, perhaps of some steps."""

    run_ids: tuple[str, ...] = ()
    metric_key: str = ""
    start_step: Int64 | None = None
    end_step: Int64 | None = None
    max_results: int = 2500


class MetricsOfRuns(Message, frozen=True, kw_only=True, omit_defaults=False):
    """Every metric names its run."""

    metrics: tuple[Metric, ...]


class SearchDatasets(Message, frozen=True, kw_only=True):
    experiment_ids: tuple[str, ...] = ()


class DatasetSummary(Message, frozen=True, kw_only=True):
    experiment_id: str
    name: str
    digest: str
    context: str | None = None


class DatasetSummaries(Message, frozen=True, kw_only=True):
    dataset_summaries: tuple[DatasetSummary, ...] = ()


class MetricPage(Message, frozen=True, kw_only=True):
    metrics: tuple[Metric, ...] = ()
    next_page_token: str = ""


CREATE_RUN = mlflow("runs/create", "POST", CreateRun, RunMessage)
GET_RUN = mlflow("runs/get", "GET", OfRun, RunMessage)
UPDATE_RUN = mlflow("runs/update", "POST", UpdateRun, UpdatedRun)
DELETE_RUN = mlflow("runs/delete", "POST", OfRun, Empty)
RESTORE_RUN = mlflow("runs/restore", "POST", OfRun, Empty)
LOG_METRIC = mlflow("runs/log-metric", "POST", LogMetric, Empty)
LOG_PARAM = mlflow("runs/log-parameter", "POST", LogParam, Empty)
LOG_BATCH = mlflow("runs/log-batch", "POST", LogBatch, Empty)
SET_RUN_TAG = mlflow("runs/set-tag", "POST", SetRunTag, Empty)
DELETE_RUN_TAG = mlflow("runs/delete-tag", "POST", DeleteRunTag, Empty)
LOG_INPUTS = mlflow("runs/log-inputs", "POST", LogInputs, Empty)
LOG_OUTPUTS = mlflow("runs/outputs", "POST", LogOutputs, Empty)
LOG_RUN_MODEL = mlflow("runs/log-model", "POST", LogRunModel, Empty)
SEARCH_RUNS = mlflow("runs/search", "POST", SearchRuns, RunPage)
METRIC_HISTORY = mlflow("metrics/get-history", "GET", MetricHistory, MetricPage)
METRIC_HISTORIES = mlflow("metrics/get-history-bulk", "GET", Histories, MetricsOfRuns)
SAMPLED_HISTORIES = mlflow("metrics/get-history-bulk-interval", "GET", SampledHistories, MetricPage)
SEARCH_DATASETS = mlflow("experiments/search-datasets", "POST", SearchDatasets, DatasetSummaries)
# MLflow's own path for the same lacks a slash, and its clients use it.
SEARCH_DATASETS_ODD, SEARCH_DATASETS_ODD_UI = (
    Operation(f"mlflow:POST:{path}", "POST", path, SearchDatasets, DatasetSummaries)
    for path in ("/api/2.0mlflow/experiments/search-datasets", "/ajax-api/2.0mlflow/experiments/search-datasets")
)
