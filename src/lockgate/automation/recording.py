"""The run that a lifecycle is recorded in. It is created when the first stage really runs, and never before."""

import contextlib
import logging
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from lockgate.automation.source import read_source
from lockgate.entities import Content, Scalar
from lockgate.errors import InvalidInput, NotFound
from lockgate.pipelines.definition import Node, nodes_of, read_stages
from lockgate.pipelines.params import ParamsFiles, scalar
from lockgate.project import Folder
from lockgate.store.atomic import write_atomically

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.store.store import Store

log = logging.getLogger("lockgate.run")


class Lineage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run stands on, as its release repeats it."""

    run_id: str
    commit: str | None = None
    dirty_diff: str | None = None
    environment: str | None = None
    params: dict[str, Scalar] = {}
    data: dict[str, Content] = {}


class TrackingServer(NamedTuple):
    """Where a stage's script logs to, and the token that lets it in; empty where nobody has to log in."""

    uri: str
    token: str


class RunRecorder:
    """At most one run. `begin` may be called by several stages at once; the first call creates it."""

    def __init__(
        self,
        folder: Folder,
        *,
        open_client: Callable[[], "Client"],
        store: "Store",
        tracking: Callable[[], TrackingServer],
        data: Mapping[str, Content],
        user: str,
    ) -> None:
        self._folder = folder
        self._open_client = open_client
        self._store = store
        self._tracking = tracking
        self._data = data
        self._user = user
        self._lock = Lock()
        self._lineage: Lineage | None = None

    @property
    def lineage(self) -> Lineage | None:
        """None as long as no stage had to run."""
        return self._lineage

    @property
    def run_id(self) -> str | None:
        return self._lineage.run_id if self._lineage else None

    def begin(self) -> Lineage:
        """The run, created by the first call with everything that is known before a stage starts."""
        with self._lock:
            if self._lineage is None:
                self._lineage = self._create()
            return self._lineage

    def stage_environment(self) -> Mapping[str, str]:
        """The variables that let a stage's script log to this run, with `mlflow` or with `lockgate`."""
        run_id = self.begin().run_id
        uri, token = self._tracking()
        # mlflow prefers a user name and password to a token, so they must not get in the way of ours.
        login = {"MLFLOW_TRACKING_TOKEN": token, "MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}
        return {
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_REGISTRY_URI": uri,
            "MLFLOW_RUN_ID": run_id,
            "MLFLOW_EXPERIMENT_NAME": self._folder.project.model,
            "LOCKGATE_URI": uri,
            "LOCKGATE_RUN_ID": run_id,
            "LOCKGATE_OUTBOX": str(self._outbox),
            **({**login, "LOCKGATE_TOKEN": "env:MLFLOW_TRACKING_TOKEN"} if token else {}),
        }

    def download_model(self, target: Path) -> bool:
        """Fill a stage's `model` output with the model that its script logged to the run; False where it did not."""
        if self._lineage is None:
            return False
        tracking = self._open_client().tracking
        logged = tracking.list_logged_models(self._lineage.run_id)
        if not logged:
            return False
        tracking.download_logged_model(logged[0], target)
        return True

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"], *, metrics: Mapping[str, float]) -> None:
        """Close the run with what the stages' metric files said; nothing where there is no run."""
        if self._lineage is None:
            return
        from lockgate.client.outbox.leftovers import deliver_leftovers

        tracking = self._open_client().tracking
        for kept in deliver_leftovers(self._outbox, tracking).kept:
            if not isinstance(kept.error, NotFound):  # a run of another server
                log.warning("what a killed script logged stays in %s: %s", kept.path, kept.error)
        if metrics:
            tracking.log_metrics(self._lineage.run_id, metrics)
        tracking.finish_run(self._lineage.run_id, status)
        self._open_run.unlink(missing_ok=True)

    def _create(self) -> Lineage:
        source = read_source(self._folder.root)
        # Written before the run points to it.
        diff = self._store.put_bytes(source.diff) if source.diff else None
        environment = self._store.put_bytes(installed_distributions())
        params = params_of(self._folder.root, nodes_of(read_stages(self._folder)))
        tags = {
            "mlflow.user": self._user,
            "mlflow.source.type": "PROJECT",
            "mlflow.source.name": f"lockgate run ({self._folder.root.name})",
            "lockgate.environment": environment,
            **({"mlflow.source.git.commit": source.commit} if source.commit else {}),
            **({"mlflow.source.git.branch": source.branch} if source.branch else {}),
            **({"lockgate.dirty_diff": diff} if diff else {}),
            **{f"lockgate.data.{name}": content.digest for name, content in self._data.items()},
        }
        tracking = self._open_client().tracking
        run_id = tracking.create_run(tracking.ensure_experiment(self._folder.project.model), tags=tags)
        self._close_orphan(run_id)
        if params:
            tracking.log_batch(run_id, params={key: _text(value) for key, value in params.items()})
        return Lineage(
            run_id=run_id,
            commit=source.commit,
            dirty_diff=diff,
            environment=environment,
            params=params,
            data=dict(self._data),
        )

    @property
    def _outbox(self) -> Path:
        """Where the stages' scripts keep what they logged; what a killed one left there is sent when the run ends."""
        return self._folder.state / "outbox"

    @property
    def _open_run(self) -> Path:
        return self._folder.state / "open-run"

    def _close_orphan(self, run_id: str) -> None:
        """A run whose process was killed ends here; we hold the project's run lock, so nobody works on it."""
        if self._open_run.exists():
            with contextlib.suppress(NotFound):
                self._open_client().tracking.finish_run(self._open_run.read_text(), "KILLED")
        write_atomically(self._open_run, run_id.encode())


def installed_distributions() -> bytes:
    """The interpreter and every installed distribution, one a line and sorted: `name==version`."""
    found = {f"{item.name.lower()}=={item.version}" for item in metadata.distributions() if item.name}
    head = f"# python {platform.python_version()} {platform.system().lower()} {platform.machine()}"
    return "\n".join([head, *sorted(found), ""]).encode()


def params_of(root: Path, nodes: Iterable[Node]) -> dict[str, Scalar]:
    """The parameters that the stages read, by dotted name. A stage whose parameters are missing fails by itself."""
    files = ParamsFiles(root)
    found: dict[str, Scalar] = {}
    for node in nodes:
        with contextlib.suppress(InvalidInput):
            found.update({name: scalar(value) for name, value in files.of_stage(node).items()})
    return found


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
