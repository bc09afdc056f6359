"""One lifecycle: contracts, stages, gates, release.

    data contracts -> stages -> candidate -> gates -> release -> alias

A second lifecycle that finds nothing changed opens no database, starts no server and loads no model; it says again
what the gates said of this candidate.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from lockgate.automation.judging import Judge
from lockgate.automation.recording import Lineage, RunRecorder, TrackingServer
from lockgate.clock import Clock
from lockgate.entities import Content, Verdict
from lockgate.errors import GateFailed, LockgateError
from lockgate.hashing import digest_canonical
from lockgate.project import Folder

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.pipelines.outcome import PipelineOutcome, StageOutcome
    from lockgate.pipelines.reporter import Reporter
    from lockgate.pipelines.run_lock import Held
    from lockgate.store.actions import Actions
    from lockgate.store.store import Store


class LifecycleOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a lifecycle did. Without a candidate, or with `gates` off, everything after `run_id` is empty."""

    stages: "tuple[StageOutcome, ...]"
    run_id: str | None = None  # None where no stage had to run
    candidate: Content | None = None
    verdict: Verdict | None = None
    version: int | None = None
    report: str | None = None  # digest of the stored report folder
    new_version: bool = False

    @property
    def refusal(self) -> GateFailed | None:
        """The error to raise where the gates said no; None where they passed or were not asked."""
        if self.verdict is None or self.verdict.passed:
            return None
        reasons = "; ".join(f"{check.gate}: {check.reason}" for check in self.verdict.refusals)
        return GateFailed(
            f"version {self.version} was refused by {len(self.verdict.refusals)} of {len(self.verdict.checks)} "
            f"gates: {reasons}",
            hint=f"lockgate report @{self.version}",
        )


def run_lifecycle(
    folder: Folder,
    *,
    open_client: Callable[[], "Client"],
    store: "Store",
    tracking: Callable[[], TrackingServer],
    clock: Clock,
    user: str,
    reporter: "Reporter",
    targets: Sequence[str] = (),
    jobs: int = 0,
    force: bool = False,
    keep_going: bool = False,
    gates: bool = True,
) -> LifecycleOutcome:
    """Run what changed, judge the candidate, register it.

    `open_client` and `tracking` (a tracking server for the stages) are called on first need. With `gates` off the
    lifecycle ends after the stages and registers nothing.

    Raises GateFailed where a data contract refuses a file (expectation, column and rows are named) and StageFailed
    where a stage fails; the run is then recorded as FAILED. A refused candidate is no exception: it is kept, marked,
    and `LifecycleOutcome.refusal` is the error to exit with.
    """
    from lockgate.data.check import accept, check_data, refusal
    from lockgate.pipelines.run_lock import hold_run_lock
    from lockgate.store.actions import Actions

    actions = Actions(store.root / "actions")
    with hold_run_lock(folder.state) as held:
        reports = check_data(folder, store, clock=clock)
        refused = refusal(reports)
        if refused is not None:
            raise refused
        data = {report.name: report.content for report in reports}
        recorder = RunRecorder(folder, open_client=open_client, store=store, tracking=tracking, data=data, user=user)
        options = Options(tuple(targets), jobs, force, keep_going)
        pipeline = _run_stages(
            folder, recorder, options, store=store, actions=actions, held=held, reporter=reporter, clock=clock
        )
        outcome = LifecycleOutcome(stages=pipeline.stages, run_id=recorder.run_id)
        if gates and pipeline.model is not None and pipeline.model_path is not None:
            judge = Judge(folder, store=store, actions=actions, open_client=open_client, clock=clock, user=user)
            lineage = _remembered(recorder, pipeline.model, actions)
            path = folder.root / pipeline.model_path
            registered, is_new = judge.judge(pipeline.model, path, lineage=lineage)
            outcome = msgspec.structs.replace(
                outcome,
                candidate=pipeline.model,
                verdict=registered.judged.verdict,
                version=registered.version,
                report=registered.judged.report,
                new_version=is_new,
            )
        if recorder.run_id is not None and outcome.refusal is None:
            for report in reports:
                accept(folder, report)
        return outcome


class Options(NamedTuple):
    """What of the pipeline is to run, and how."""

    targets: tuple[str, ...]
    jobs: int
    force: bool
    keep_going: bool


def _run_stages(
    folder: Folder,
    recorder: RunRecorder,
    options: Options,
    *,
    store: "Store",
    actions: "Actions",
    held: "Held",
    reporter: "Reporter",
    clock: Clock,
) -> "PipelineOutcome":
    """The stages, with the run closed however they end."""
    from lockgate.pipelines.outcome import PipelineFailed
    from lockgate.pipelines.run import run_pipeline

    try:
        pipeline = run_pipeline(
            folder,
            store=store,
            actions=actions,
            targets=options.targets or None,
            jobs=options.jobs,
            force=options.force,
            keep_going=options.keep_going,
            stage_environment=recorder.stage_environment,
            materialise_model=recorder.download_model,
            held=held,
            reporter=reporter,
            clock=clock,
        )
    except PipelineFailed as failed:
        recorder.finish("FAILED", metrics=failed.outcome.metrics)
        raise
    except LockgateError:
        recorder.finish("FAILED", metrics={})
        raise
    except BaseException:
        recorder.finish("KILLED", metrics={})
        raise
    recorder.finish("FINISHED", metrics=pipeline.metrics)
    return pipeline


def _remembered(recorder: RunRecorder, candidate: Content, actions: "Actions") -> Callable[[], Lineage]:
    """What the candidate was made from, also where this lifecycle only found it in the cache.

    A lifecycle that dies before its release exists goes on in another one, in which no stage runs any more.
    """
    key = digest_canonical("lineage", {"candidate": candidate.digest})
    if recorder.lineage is not None:
        actions.put(key, msgspec.json.encode(recorder.lineage))

    def lineage() -> Lineage:
        known = actions.get(key)
        return msgspec.json.decode(known, type=Lineage) if known is not None else recorder.begin()

    return lineage
