"""What `import lockgate` gives a training script: metrics, parameters, artifacts and models on a run.

Inside `lockgate run` everything goes to the run of the pipeline, whose address and id are in the environment. Outside
of it the project's own records are opened in this process, and a run is begun on first use and finished when the script
ends. The calls may come from any thread, and from forked workers, which log to the run of the process they come from.

Metrics, params and tags never wait for the server: a call returns when its values are in a file (`client/outbox`), from
where a thread sends them. They are lost by no `kill -9` and by no server that is away; a power cut may take the last
moments. Only when more than `outbox_mb` wait to be sent, or the disk is full, do calls wait. At the end of a run the
script waits until everything was sent, for `outbox_wait_s` at most; what is left then, or by a kill, is sent by the
next script of the project, by `lockgate run` where it was a stage's, or by `lockgate runs flush`.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lockgate.client.outbox.batch import Metrics, Params, Tags
from lockgate.client.outbox.values import numbers, parts, seconds, texts, warn_of_cut, whole
from lockgate.clock import SystemClock
from lockgate.entities import Scalar
from lockgate.errors import InvalidInput
from lockgate.session import Session
from lockgate.wire.operation import PARAM_LENGTH, TAG_LENGTH

log = logging.getLogger("lockgate.training")

_FOUND_WITHIN_S = 2.0

_clock = SystemClock()
_session = Session(os.environ)
# What a forked child inherited, kept from being collected: closing it would disturb the parent's database.
_inherited: list[Session] = []


def start_run(name: str = "") -> "contextlib.AbstractContextManager[str]":
    """A block that is one run; its value is the run's id. Not needed inside `lockgate run`, and harmless there.

    Waits until others can find the run, for two seconds at most: where the server is away, it will know the run later.
    The end of the block waits until everything was sent (the setting `outbox_wait_s`); what then remains is named in a
    warning and sent later. It raises InvalidInput for what the server refused, such as a param that has another value.
    """
    return _run_block(name)


def log_metric(name: str, value: float, step: int = 0) -> None:
    """One number at one step; see `log_metrics`."""
    log_metrics({name: value}, step=step)


def log_metrics(metrics: Mapping[str, float], step: int = 0) -> None:
    """Numbers at one step, with the time of now. NaN and infinities are kept as they are.

    Returns when they are in a file. Waits where `outbox_mb` are on their way already. Raises InvalidInput for a name or
    a value that cannot be logged, and StorageFull where the disk is full and nothing is on its way.
    """
    step, values, at = whole(step), numbers(metrics), _clock.now_ms()
    outbox = _session.open().outbox
    for part in parts(values):
        outbox.append(Metrics(at, step, part))


def log_param(name: str, value: Scalar) -> None:
    """A parameter is written once: another value later is refused. Its first 6,000 characters are kept."""
    log_params({name: value})


def log_params(params: Mapping[str, Scalar]) -> None:
    """Parameters by name; see `log_param`, and `log_metrics` for when it returns.

    Raises InvalidInput where this process logged another value; where another process did, the end of the run says so.
    """
    opened = _session.open()
    values = texts(params)
    warn_of_cut("param", values, PARAM_LENGTH)
    for name, value in values.items():
        if opened.params.get(name, value) != value:
            raise InvalidInput(
                f"the param {name!r} is {opened.params[name]!r} and cannot become {value!r}.",
                hint="params are logged once a run; log what changes as a metric or a tag",
            )
    for part in parts(values):
        opened.outbox.append(Params(part))
    opened.params.update(values)


def set_tag(name: str, value: str) -> None:
    set_tags({name: value})


def set_tags(tags: Mapping[str, str]) -> None:
    """Tags may be set again; see `log_metrics` for when it returns. The first 8,000 characters are kept."""
    values = texts(tags)
    warn_of_cut("tag", values, TAG_LENGTH)
    outbox = _session.open().outbox
    for part in parts(values):
        outbox.append(Tags(part))


def flush(timeout_s: float = 60.0) -> None:
    """Wait until everything that was logged so far can be read by others.

    Raises DeadlineExceeded saying what remains, where and why, and InvalidInput for what the server refused.
    """
    _session.flush(seconds(timeout_s))


def log_artifact(path: str | Path, artifact_path: str = "") -> None:
    """A file, or a folder with all that is in it, kept with the run under `artifact_path`.

    Links to files are followed, and what in a folder is a link to another is left out, with a warning.
    """
    local = Path(path)
    if not local.is_file() and not local.is_dir():  # nor a pipe or a device
        raise InvalidInput(f"there is no file or folder {local} to log.")
    opened = _session.open()
    opened.make_run()
    folder = Path(artifact_path) if local.is_file() else Path(artifact_path, local.name)
    opened.client.tracking.upload_artifact(opened.place.run_id, local, folder.as_posix())


def log_model(model: Any, path: str | Path = "model", *, data: Any, flavor: str | None = None) -> Path:
    """Write a model directory that Lockgate and `mlflow.pyfunc.load_model` load, and keep it with the run.

    `path` is where it is written: the stage's `model:` output. An earlier model there is replaced; a file, or a folder
    that holds anything else, is InvalidInput and stays. Its last part is the name with the run, from where
    MLflow's clients load it as `runs:/RUN_ID/model`. `data` is some rows as the model takes them (Polars or pandas
    frame, or a 2-d array); the signature is inferred from them, and the saved model is tried on them. `flavor` is
    `sklearn` or `onnx`; without one, what the model is. Returns the directory. Raises InvalidInput for a model that
    cannot be saved or does not load again.
    """
    from lockgate.models.save import save_model

    target = Path(path)
    metadata = {"lockgate_run_id": _session.open().place.run_id}
    save_model(model, target, example=data, flavor=flavor, metadata=metadata)
    log_artifact(target)
    return target


# -- the end ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _run_block(name: str) -> Iterator[str]:
    opened = _session.open(name)
    try:
        remains = opened.outbox.wait(_FOUND_WITHIN_S)
        if isinstance(remains, InvalidInput):  # the server knows the reason why there can be no such run
            raise remains
        yield opened.place.run_id
    except BaseException as error:
        is_done = isinstance(error, SystemExit) and error.code in (None, 0)
        if (refused := _session.finish("FINISHED" if is_done else "FAILED")) is not None:
            log.error("%s", refused)
        raise
    if (refused := _session.finish("FINISHED")) is not None:
        raise refused


def end_script() -> None:
    """Called when the process ends, by the package."""
    # The interpreter notes what it dies of, whatever hook prints it, and at a prompt also what it does not die of.
    has_died = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
    refused = _session.end("FAILED" if has_died else "FINISHED")
    if refused is not None:
        log.error("%s", refused)


def _go_on_in_child() -> None:
    global _session
    _inherited.append(_session)
    _session = _session.forked()


os.register_at_fork(
    before=lambda: _session.hold_still(),
    after_in_parent=lambda: _session.go_on(),
    after_in_child=_go_on_in_child,
)
