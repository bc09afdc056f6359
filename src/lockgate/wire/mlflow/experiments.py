"""Experiments: groups of runs."""

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from lockgate.wire.operation import Empty, Message, mlflow

ViewType = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]
# MLflow takes an empty text for a missing one wherever a value is required.
Text = Annotated[str, Meta(min_length=1)]

WORKSPACE = "default"  # MLflow's servers may have several; here there is one


class Tag(Message, frozen=True, kw_only=True, omit_defaults=False, gc=False):
    """A key and its value, which is written even where it is empty; also of params."""

    key: str
    value: str = ""


def as_tags(pairs: Iterable[tuple[str, str]]) -> tuple[Tag, ...]:
    """Of (key, value), also of params."""
    return tuple([Tag(key=key, value=value) for key, value in pairs])


class Experiment(Message, frozen=True, kw_only=True):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    creation_time: int
    last_update_time: int
    tags: tuple[Tag, ...] = ()
    workspace: str


class CreateExperiment(Message, frozen=True, kw_only=True):
    name: str
    artifact_location: str = ""
    tags: tuple[Tag, ...] = ()


class ExperimentId(Message, frozen=True, kw_only=True):
    experiment_id: str


class ExperimentName(Message, frozen=True, kw_only=True):
    experiment_name: str


class ExperimentMessage(Message, frozen=True, kw_only=True):
    experiment: Experiment


class UpdateExperiment(Message, frozen=True, kw_only=True):
    experiment_id: str
    new_name: str


class SetExperimentTag(Message, frozen=True, kw_only=True):
    experiment_id: str
    key: str
    value: str = ""


class DeleteExperimentTag(Message, frozen=True, kw_only=True):
    experiment_id: str
    key: Text


class SearchExperiments(Message, frozen=True, kw_only=True):
    max_results: int = 1000
    page_token: str = ""
    filter: str = ""
    order_by: tuple[str, ...] = ()
    view_type: ViewType = "ACTIVE_ONLY"


class ExperimentPage(Message, frozen=True, kw_only=True):
    experiments: tuple[Experiment, ...] = ()
    next_page_token: str = ""


CREATE_EXPERIMENT = mlflow("experiments/create", "POST", CreateExperiment, ExperimentId)
GET_EXPERIMENT = mlflow("experiments/get", "GET", ExperimentId, ExperimentMessage)
GET_EXPERIMENT_BY_NAME = mlflow("experiments/get-by-name", "GET", ExperimentName, ExperimentMessage)
UPDATE_EXPERIMENT = mlflow("experiments/update", "POST", UpdateExperiment, Empty)
DELETE_EXPERIMENT = mlflow("experiments/delete", "POST", ExperimentId, Empty)
RESTORE_EXPERIMENT = mlflow("experiments/restore", "POST", ExperimentId, Empty)
SET_EXPERIMENT_TAG = mlflow("experiments/set-experiment-tag", "POST", SetExperimentTag, Empty)
DELETE_EXPERIMENT_TAG = mlflow("experiments/delete-experiment-tag", "POST", DeleteExperimentTag, Empty)
SEARCH_EXPERIMENTS = mlflow("experiments/search", "POST", SearchExperiments, ExperimentPage)
SEARCH_EXPERIMENTS_GET = mlflow("experiments/search", "GET", SearchExperiments, ExperimentPage)
