"""One stage, really: clear its outputs, run its commands, see that it wrote what it declares, store that."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from lockgate.clock import Clock
from lockgate.entities import Content
from lockgate.errors import InvalidInput, StageFailed
from lockgate.pipelines.definition import Node, Out
from lockgate.pipelines.local import Exit, LocalExecutor
from lockgate.pipelines.record import Inputs, StageRecord
from lockgate.pipelines.reporter import Reporter
from lockgate.store.checkout import remove
from lockgate.store.snapshot import snapshot
from lockgate.store.stat_cache import StatCache
from lockgate.store.store import Store

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LINES_IN_MESSAGE = 10

# OpenMP's threads spin while they wait for each other. Where stages share the cores that burns what the others need:
# gradient boosting beside one busy process took 5.6 s spinning and 1.5 s sleeping (two cores). A user's own value wins.
_QUIET_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


class Bench(NamedTuple):
    """What executing a stage needs beside the stage."""

    root: Path
    logs: Path
    store: Store
    stats: StatCache
    executor: LocalExecutor
    environ: Mapping[str, str]
    stage_environment: Callable[[], Mapping[str, str]]
    materialise_model: Callable[[Path], bool] | None
    reporter: Reporter
    clock: Clock


def execute(node: Node, inputs: Inputs, bench: Bench) -> tuple[StageRecord, int]:
    """Run a stage until it succeeds or has no retries left: what it wrote, and how often it was tried.

    Raises StageFailed with exit code or signal and the last lines of output; StorageFull.
    """
    pause_s = _FIRST_PAUSE_S
    for attempt in range(1, node.retries + 2):
        try:
            _attempt(node, bench)
            break
        except StageFailed as error:
            if attempt > node.retries or bench.executor.is_stopped:
                raise
            first_line = error.message.splitlines()[0]
            bench.reporter.message(f"{first_line} Retry {attempt} of {node.retries} in {pause_s:.0f} s.")
            _wait(pause_s, bench)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    outs = {out.path: _keep(out, bench) for out in node.outs}
    executable = tuple(path for path, content in outs.items() if _is_executable_file(bench.root / path, content))
    return StageRecord(inputs=inputs, outs=outs, executable=executable), attempt


def _attempt(node: Node, bench: Bench) -> None:
    for out in node.outs:
        if not out.persist:
            remove(bench.root / out.path)
        (bench.root / out.path).parent.mkdir(parents=True, exist_ok=True)
    cwd = bench.root / node.wdir
    if not cwd.is_dir():
        raise InvalidInput(f"stage {node.name}: its wdir {node.wdir!r} is not a folder.")
    environment = {
        **_QUIET_WAITING,
        **bench.environ,
        "PYTHONUNBUFFERED": "1",
        **bench.stage_environment(),
        **node.env,
    }
    started = bench.clock.monotonic()
    try:
        ended = bench.executor.run(
            node.name,
            node.commands,
            cwd=cwd,
            env=environment,
            timeout_s=node.timeout_s,
            log=log_path(bench, node),
            on_line=lambda line: bench.reporter.stage_output(node.name, line),
        )
    except OSError as error:
        raise StageFailed(f"stage {node.name} could not be started: {error.strerror}.") from error
    if ended.returncode != 0 or ended.timed_out:
        raise StageFailed(_story(node, ended, bench.clock.monotonic() - started))
    _check_written(node, bench)


def _check_written(node: Node, bench: Bench) -> None:
    missing = [out.path for out in node.outs if not (bench.root / out.path).exists()]
    if node.model in missing and bench.materialise_model and bench.materialise_model(bench.root / node.model):
        missing.remove(node.model)
    if not missing:
        return
    hint = "write it there, or correct `outs` of the stage"
    if node.model in missing:
        hint = "save the model there, or log it with mlflow's log_model or lockgate.log_model"
    raise StageFailed(f"stage {node.name} ended well, but did not write {', '.join(missing)}.", hint=hint)


def log_path(bench: Bench, node: Node) -> Path:
    """Where the last run's whole output of a stage is."""
    return bench.logs / f"{node.name}.log"


def _keep(out: Out, bench: Bench) -> Content:
    if out.cache:
        return bench.store.put(bench.root / out.path)
    content = snapshot(bench.root / out.path, bench.stats)
    if content is None:
        raise StageFailed(f"the output {out.path} disappeared while it was read.")
    return content


def _is_executable_file(path: Path, content: Content) -> bool:
    return content.kind == "file" and bool(path.stat().st_mode & 0o100)


def _wait(seconds: float, bench: Bench) -> None:
    """Sleep in short pieces, so that an interrupted run does not wait for it."""
    until = bench.clock.monotonic() + seconds
    while not bench.executor.is_stopped and (left := until - bench.clock.monotonic()) > 0:
        bench.clock.sleep(min(left, 0.1))


def _story(node: Node, ended: Exit, duration_s: float) -> str:
    """What happened to the stage, with the end of its output."""
    if ended.stopped:
        what = "was stopped"
    elif ended.timed_out:
        what = f"did not end within its timeout of {node.timeout_s:g} s and was stopped"
    elif ended.returncode < 0:
        what = f"was killed by {_signal_name(-ended.returncode)}"
    elif 128 < ended.returncode < 160:
        what = f"failed with exit code {ended.returncode} (a process in it was killed by " + (
            f"{_signal_name(ended.returncode - 128)})"
        )
    else:
        what = f"failed with exit code {ended.returncode}"
    text = f"stage {node.name} {what} after {duration_s:.1f} s."
    lines = ended.tail[-_LINES_IN_MESSAGE:]
    if not lines:
        return f"{text} It printed nothing."
    return f"{text} Its last output:" + "".join(f"\n    {line}" for line in lines)


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (often: out of memory)" if name == "SIGKILL" else name
