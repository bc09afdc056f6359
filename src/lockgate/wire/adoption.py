"""Runs and logged models that come from another server and keep the ids they had there."""

from lockgate.wire.mlflow.logged_models import CreateLoggedModel
from lockgate.wire.mlflow.runs import CreateRun
from lockgate.wire.operation import Message, own


class AdoptRun(CreateRun, frozen=True, kw_only=True):
    """What MLflow's own request says, and the id; AlreadyExists where there is a run of that id."""

    run_id: str


class AdoptLoggedModel(CreateLoggedModel, frozen=True, kw_only=True):
    """The same for a logged model, which is pending until it is finalised."""

    model_id: str


class Adopted(Message, frozen=True, kw_only=True, omit_defaults=False):
    """Where its files belong."""

    artifact_uri: str


ADOPT_RUN = own("tracking", "adopt_run", AdoptRun, Adopted)
ADOPT_LOGGED_MODEL = own("tracking", "adopt_logged_model", AdoptLoggedModel, Adopted)
