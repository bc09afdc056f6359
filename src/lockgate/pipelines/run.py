"""Run what changed: every stage when those that it waits for are done, several at the same time.

    decide (main thread) --cached--> done
            |--restore, run--> a thread of its own: store, then results by identity --> main thread: lock file

A stage counts as finished when its outputs are in the store and the lock file names them, so a run may be killed at any
moment: the next one goes on after the last finished stage. The main thread alone decides and writes the lock file.
"""

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import msgspec

from lockgate.clock import Clock
from lockgate.entities import Content
from lockgate.errors import LockgateError, NotFound, StageFailed
from lockgate.pipelines.definition import LOCK_FILE, Node, nodes_of, read_stages
from lockgate.pipelines.execute import Bench, execute, log_path
from lockgate.pipelines.graph import Graph, build_graph, check_dependencies
from lockgate.pipelines.local import LocalExecutor
from lockgate.pipelines.lock_file import Lock, read_lock, write_lock
from lockgate.pipelines.metrics import read_metrics
from lockgate.pipelines.outcome import PipelineFailed, PipelineOutcome, StageOutcome, StageStatus
from lockgate.pipelines.plan import Decision
from lockgate.pipelines.record import StageRecord, encode_record
from lockgate.pipelines.reporter import Reporter, Serialised
from lockgate.pipelines.run_lock import Held, hold_run_lock
from lockgate.pipelines.search_path import with_our_python
from lockgate.pipelines.status import decide_now, open_stats
from lockgate.pipelines.workspace import Workspace
from lockgate.project import Folder
from lockgate.store.actions import Actions
from lockgate.store.atomic import orphans
from lockgate.store.checkout import checkout
from lockgate.store.snapshot import snapshot
from lockgate.store.stat_cache import StatCache
from lockgate.store.store import Store

_LISTEN_S = 0.5  # how late Ctrl-C may be heard


def run_pipeline(
    folder: Folder,
    *,
    store: Store,
    actions: Actions,
    reporter: Reporter,
    clock: Clock,
    targets: Sequence[str] | None = None,
    jobs: int = 0,
    force: bool = False,
    keep_going: bool = False,
    stage_environment: Callable[[], Mapping[str, str]] = dict,
    materialise_model: Callable[[Path], bool] | None = None,
    held: Held | None = None,
    environ: Mapping[str, str] | None = None,
) -> PipelineOutcome:
    """Bring the targets (default: all stages) and what they wait for up to date.

    `jobs` stages run at the same time, one per core when 0. `stage_environment` is asked once a stage really runs, from
    its thread. `materialise_model` may write a `model` output that the stage did not. `held` is the run lock of a
    caller that has it already.

    Raises InvalidInput before anything starts, Unavailable while another run works on the project, PipelineFailed (a
    StageFailed with the outcome) when all that could still run has ended, DataDamaged, StorageFull.
    """
    with nullcontext(held) if held else hold_run_lock(folder.state):
        graph = build_graph(nodes_of(read_stages(folder)))
        names = graph.select(targets or ())
        check_dependencies(graph, names, folder.root)
        stats = open_stats(folder.state, clock)
        bench = Bench(
            root=folder.root,
            logs=folder.state / "logs" / "stages",
            store=store,
            stats=stats,
            executor=LocalExecutor(folder.state / "tmp" / "stages", clock=clock),
            environ=with_our_python(os.environ if environ is None else environ),
            stage_environment=stage_environment,
            materialise_model=materialise_model,
            reporter=Serialised(reporter),
            clock=clock,
        )
        _clean_up_after_killed(folder.root, bench)
        run = _Run(graph, names, read_lock(folder.root), bench, actions, jobs or os.cpu_count() or 1, force, keep_going)
        try:
            run.go()
        finally:
            stats.save()
        outcome = _outcome(folder, graph, run, stats)
        if outcome.failed:
            raise PipelineFailed(outcome)
        return outcome


def _clean_up_after_killed(root: Path, bench: Bench) -> None:
    """What a run that was killed could not do itself; we hold its lock, so it is dead."""
    for stage in bench.executor.stop_orphans():
        bench.reporter.message(f"stage {stage} was still running for a run that was killed; it was stopped.")
    for path in orphans(root, LOCK_FILE):
        path.unlink(missing_ok=True)


class _Done(msgspec.Struct, frozen=True):
    """What a stage's thread hands back: an outcome with the record to write down, or the error that ends the run."""

    name: str
    outcome: StageOutcome | None = None
    record: StageRecord | None = None
    error: BaseException | None = None


class _Run:
    """One run of some stages; all its state belongs to the main thread."""

    def __init__(
        self,
        graph: Graph,
        names: Sequence[str],
        lock: Lock,
        bench: Bench,
        actions: Actions,
        jobs: int,
        force: bool,
        keep_going: bool,
    ) -> None:
        self.lock = Lock({name: lock.stages[name] for name in lock.stages if name in graph.nodes}, dict(lock.data))
        self.outcomes: dict[str, StageOutcome] = {}
        self._graph = graph
        self._names = names
        self._bench = bench
        self._actions = actions
        self._jobs = jobs
        self._force = force
        self._keep_going = keep_going
        self._workspace = Workspace(bench.root, store=bench.store, stats=bench.stats)
        self._waiting = {name: {p for p in graph.parents[name] if p in set(names)} for name in names}
        self._ready = deque(name for name in names if not self._waiting[name])
        self._threads: dict[str, Thread] = {}
        self._finished: SimpleQueue[_Done] = SimpleQueue()
        self._error: BaseException | None = None

    def go(self) -> None:
        """Until nothing more can run. An interrupt stops the running stages first."""
        try:
            while True:
                while self._ready and len(self._threads) < self._jobs and not self._is_halted():
                    self._begin(self._ready.popleft())
                if not self._threads:
                    break
                self._end(self._next_finished())
        except BaseException:
            self._bench.executor.stop()
            for thread in list(self._threads.values()):
                thread.join()
            raise
        if self._error is not None:
            raise self._error
        for name in self._names:
            if name not in self.outcomes:
                failed = [other for other, outcome in self.outcomes.items() if outcome.status == "failed"]
                self._skip(name, f"not started, because stage {failed[0]} failed")

    def _next_finished(self) -> "_Done":
        """The next stage that ends. Wakes up now and then, because the kernel may hand Ctrl-C to another thread, and
        this one, which must raise it, would not hear of it before a stage ends."""
        while True:
            with suppress(Empty):
                return self._finished.get(timeout=_LISTEN_S)

    def _is_halted(self) -> bool:
        failed = any(outcome.status == "failed" for outcome in self.outcomes.values())
        return self._error is not None or (failed and not self._keep_going)

    def _begin(self, name: str) -> None:
        node = self._graph.nodes[name]
        decision = decide_now(
            node,
            lock=self.lock,
            workspace=self._workspace,
            store=self._bench.store,
            actions=self._actions,
            force=self._force,
        )
        if decision.state == "cached" and decision.record is not None:
            now = self._bench.clock.monotonic()
            self._settle(self._done(node, decision.record, status="cached", reason=decision.reason, started=now))
            return
        thread = Thread(target=self._work, args=(node, decision), name=f"stage {name}")
        self._threads[name] = thread
        thread.start()

    def _work(self, node: Node, decision: Decision) -> None:
        """The stage's thread."""
        try:
            self._finished.put(self._perform(node, decision))
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self._finished.put(_Done(node.name, error=error))

    def _perform(self, node: Node, decision: Decision) -> _Done:
        bench = self._bench
        started = bench.clock.monotonic()
        reason = decision.reason
        if decision.state == "restore" and decision.record is not None:
            if self._restore(decision.record, decision.broken):
                return self._done(node, decision.record, status="restored", reason=reason, started=started)
            reason = f"{reason} until a moment ago"
        bench.reporter.stage_started(node.name, reason)
        inputs = self._workspace.inputs(node)
        try:
            written, attempts = execute(node, inputs, bench)
            done = self._done(node, written, status="ran", reason=reason, started=started, attempts=attempts)
        except StageFailed as error:
            failure = StageOutcome(
                name=node.name,
                status="failed",
                reason=reason,
                duration_s=bench.clock.monotonic() - started,
                error=str(error),
                log=str(log_path(bench, node)),
            )
            return _Done(node.name, failure)
        if Workspace(bench.root, store=bench.store, stats=bench.stats).inputs(node) != inputs:
            # Nobody knows whether it read the old or the new content: its result belongs to neither.
            bench.reporter.message(f"stage {node.name}: what it reads changed while it ran, so it will run again.")
            return _Done(node.name, done.outcome)
        self._actions.put(inputs.key, encode_record(written))
        return done

    def _done(
        self, node: Node, record: StageRecord, *, status: StageStatus, reason: str, started: float, attempts: int = 0
    ) -> _Done:
        outcome = StageOutcome(
            name=node.name,
            status=status,
            reason=reason,
            duration_s=self._bench.clock.monotonic() - started,
            attempts=attempts,
            outs=record.outs,
            metrics=read_metrics(self._bench.root, node),
            log=str(log_path(self._bench, node)) if status == "ran" else None,
        )
        return _Done(node.name, outcome, record)

    def _restore(self, record: StageRecord, broken: Sequence[str]) -> bool:
        """Put outputs back; False where the store has lost one since it was asked."""
        try:
            for path in broken:
                executable = path in record.executable
                checkout(self._bench.store, record.outs[path], self._bench.root / path, executable=executable)
        except NotFound:
            return False
        return True

    def _end(self, done: _Done) -> None:
        """A thread has finished: in the main thread again."""
        self._threads.pop(done.name).join()
        if done.error is None:
            self._settle(done)
        elif self._error is None or not isinstance(done.error, LockgateError):
            self._error = done.error

    def _settle(self, done: _Done) -> None:
        assert done.outcome is not None
        name = done.name
        self.outcomes[name] = done.outcome
        if done.outcome.status == "failed":
            self._bench.reporter.stage_finished(done.outcome)
            for other in self._graph.descendants(name) & set(self._names):
                self._skip(other, f"it waits for {name}, which failed")
            return
        if done.record is not None and self.lock.stages.get(name) != done.record:
            self.lock.stages[name] = done.record
            write_lock(self._bench.root, self.lock)
        self._bench.reporter.stage_finished(done.outcome)
        for other, parents in self._waiting.items():
            if name in parents:
                parents.discard(name)
                if not parents and other not in self.outcomes:
                    self._ready.append(other)

    def _skip(self, name: str, reason: str) -> None:
        if name not in self.outcomes:
            self.outcomes[name] = StageOutcome(name=name, status="skipped", reason=reason)
            self._bench.reporter.stage_finished(self.outcomes[name])


def _outcome(folder: Folder, graph: Graph, run: _Run, stats: StatCache) -> PipelineOutcome:
    """The outcome; after a success the lock names the data files as they are now."""
    stages = tuple(run.outcomes[name] for name in graph.nodes if name in run.outcomes)
    data: dict[str, Content] = {}
    for name, item in folder.project.data.items():
        content = snapshot(folder.root / item.path, stats)
        if content is not None:
            data[name] = content
    if all(stage.status != "failed" for stage in stages) and run.lock.data != data:
        run.lock.data.clear()
        run.lock.data.update(data)
        write_lock(folder.root, run.lock)
    path = next((node.model for node in graph.nodes.values() if node.model and node.name in run.outcomes), None)
    model = next((stage.outs[path] for stage in stages if path is not None and path in stage.outs), None)
    return PipelineOutcome(stages=stages, data=data, model=model, model_path=path)
