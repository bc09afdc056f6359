"""What `import lockgate` gives a training script: metrics, parameters, artifacts and models on a run.

Inside `lockgate run` everything goes to the run of the pipeline, whose address and id are in the environment. Outside
of it the project's own records are opened in this process, and a run is made on first use and finished when the script
ends. The calls may come from any thread.
"""

import atexit
import contextlib
import getpass
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import load_settings
from lockgate.connect import connect
from lockgate.entities import Scalar
from lockgate.errors import InvalidInput
from lockgate.project import find_project, load_project


class Session:
    """The run that this process logs to. One a process; `_session` is it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._run_id: str | None = None
        self._is_ours = False

    def open(self, name: str = "") -> tuple[Client, str]:
        """The client and the run; both made by the first call."""
        with self._lock:
            if self._client is None or self._run_id is None:
                self._client, self._run_id = self._connect(name)
            return self._client, self._run_id

    def finish(self, status: str) -> None:
        """Close a run that this process made; the pipeline closes its own."""
        with self._lock:
            if self._client is None:
                return
            if self._is_ours and self._run_id is not None:
                self._client.tracking.finish_run(self._run_id, "FINISHED" if status == "FINISHED" else "FAILED")
            self._client.close()
            self._client = self._run_id = None
            self._is_ours = False

    def _connect(self, name: str) -> tuple[Client, str]:
        settings = load_settings(environ=self._environ, home=Path.home())
        user = settings.user or getpass.getuser()
        given = self._environ.get("LOCKGATE_RUN_ID")
        if given:
            if not settings.uri:
                raise InvalidInput("LOCKGATE_RUN_ID is set, and LOCKGATE_URI, which must name its server, is not.")
            return connect(settings, state=Path(), user=user, clock=SystemClock()), given
        folder = load_project(find_project(Path.cwd()))
        client = connect(settings, state=folder.state, user=user, clock=SystemClock())
        experiment = client.tracking.ensure_experiment(folder.project.model)
        script = Path(sys.argv[0]).name or "python"
        tags = {"mlflow.user": user, "mlflow.source.type": "LOCAL", "mlflow.source.name": script}
        self._is_ours = True
        return client, client.tracking.create_run(experiment, run_name=name, tags=tags)


_session = Session(os.environ)
# A script that dies of an exception has failed; the interpreter tells by the hook below.
_failed = threading.Event()


def start_run(name: str = "") -> "contextlib.AbstractContextManager[str]":
    """A block that is one run; its value is the run's id. Not needed inside `lockgate run`, and harmless there."""
    return _run_block(name)


def log_metric(name: str, value: float, step: int = 0) -> None:
    """One number at one step."""
    log_metrics({name: value}, step=step)


def log_metrics(metrics: Mapping[str, float], step: int = 0) -> None:
    """Numbers at one step. NaN and infinities are kept as they are."""
    client, run_id = _session.open()
    client.tracking.log_metrics(run_id, {name: float(value) for name, value in metrics.items()}, step=step)


def log_param(name: str, value: Scalar) -> None:
    """A parameter is written once: another value later is refused."""
    log_params({name: value})


def log_params(params: Mapping[str, Scalar]) -> None:
    """Parameters by name; see `log_param`."""
    client, run_id = _session.open()
    client.tracking.log_batch(run_id, params={name: str(value) for name, value in params.items()})


def set_tag(name: str, value: str) -> None:
    set_tags({name: value})


def set_tags(tags: Mapping[str, str]) -> None:
    """Tags may be set again."""
    client, run_id = _session.open()
    client.tracking.log_batch(run_id, tags={name: str(value) for name, value in tags.items()})


def log_artifact(path: str | Path, artifact_path: str = "") -> None:
    """A file, or a folder with all that is in it, kept with the run under `artifact_path`."""
    local = Path(path)
    if not local.exists():
        raise InvalidInput(f"there is no file or folder {local} to log.")
    client, run_id = _session.open()
    if local.is_file():
        client.tracking.upload_artifact(run_id, local, artifact_path)
        return
    for file in sorted(found for found in local.rglob("*") if found.is_file()):
        folder = Path(artifact_path, local.name, file.relative_to(local).parent)
        client.tracking.upload_artifact(run_id, file, folder.as_posix())


def log_model(model: Any, path: str | Path = "model", *, data: Any, flavor: str | None = None) -> Path:
    """Write a model directory that Lockgate and `mlflow.pyfunc.load_model` load, and keep its metadata with the run.

    `path` is where it is written: the stage's `model:` output. `data` is some rows as the model takes them (Polars or
    pandas frame, or a 2-d array); the signature is inferred from them, and the saved model is tried on them. `flavor`
    is `sklearn` or `onnx`; without one, what the model is. Returns the directory. Raises InvalidInput for a model that
    cannot be saved or does not load again.
    """
    from lockgate.models.save import save_model

    target = Path(path)
    client, run_id = _session.open()
    save_model(model, target, example=data, flavor=flavor, metadata={"lockgate_run_id": run_id})
    client.tracking.upload_artifact(run_id, target / "MLmodel", target.name)
    return target


@contextlib.contextmanager
def _run_block(name: str) -> Iterator[str]:
    _, run_id = _session.open(name)
    try:
        yield run_id
    except BaseException:
        _session.finish("FAILED")
        raise
    _session.finish("FINISHED")


def _finish_at_exit() -> None:
    _session.finish("FAILED" if _failed.is_set() else "FINISHED")


def _note_failure(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None, previous: Any = sys.excepthook
) -> None:  # `previous` is whatever hook was there
    _failed.set()
    previous(kind, error, traceback)


sys.excepthook = _note_failure
atexit.register(_finish_at_exit)
