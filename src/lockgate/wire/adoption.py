"""Runs and logged models under ids that the client says: of another server, or of training code that begins a run.

And model versions of another server, as they were.
"""

from lockgate.wire.mlflow.logged_models import CreateLoggedModel
from lockgate.wire.mlflow.registry import CreateVersion
from lockgate.wire.mlflow.runs import CreateRun, Int64
from lockgate.wire.operation import Empty, Message, own


class AdoptRun(CreateRun, frozen=True, kw_only=True):
    """What MLflow's own request says, and the id; AlreadyExists where there is a run of that id."""

    run_id: str


class AdoptLoggedModel(CreateLoggedModel, frozen=True, kw_only=True):
    """The same for a logged model, which is pending until it is finalised."""

    model_id: str


class BeginRun(Message, frozen=True, kw_only=True):
    """A run of the experiment of that name, which is made where there is none. Harmless to repeat."""

    run_id: str
    experiment: str
    run_name: str = ""
    start_time: Int64


class Adopted(Message, frozen=True, kw_only=True, omit_defaults=False):
    """Where its files belong."""

    artifact_uri: str


class AdoptedVersion(Message, frozen=True, kw_only=True, omit_defaults=False):
    version: int


BEGIN_RUN = own("tracking", "begin_run", BeginRun, Empty)
ADOPT_RUN = own("tracking", "adopt_run", AdoptRun, Adopted)
ADOPT_LOGGED_MODEL = own("tracking", "adopt_logged_model", AdoptLoggedModel, Adopted)
ADOPT_VERSION = own("registry", "adopt_version", CreateVersion, AdoptedVersion)
