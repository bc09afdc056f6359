"""What a run did, stage by stage."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from lockgate.entities import Content, Record
from lockgate.errors import StageFailed

StageStatus = Literal["ran", "cached", "restored", "skipped", "failed"]


class StageOutcome(Record, frozen=True, kw_only=True):
    """One stage. `reason` says why it ran, or why it did not; `error` is the whole story of a failure."""

    name: str
    status: StageStatus
    reason: str
    duration_s: float = 0.0
    attempts: int = 0
    outs: Mapping[str, Content] = {}
    metrics: Mapping[str, float] = {}
    error: str | None = None
    log: str | None = None  # path of the stage's whole output


class PipelineOutcome(Record, frozen=True, kw_only=True):
    """The selected stages in running order; `data` is the content of the project's data files by name."""

    stages: tuple[StageOutcome, ...]
    data: Mapping[str, Content] = {}
    model: Content | None = None  # the candidate, where a stage with `model` was selected
    model_path: str | None = None

    @property
    def failed(self) -> tuple[StageOutcome, ...]:
        return tuple(stage for stage in self.stages if stage.status == "failed")

    @property
    def ran(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages if stage.status == "ran")

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics; a name that two stages use is prefixed with the stage's."""
        uses = Counter(name for stage in self.stages for name in stage.metrics)
        return {
            name if uses[name] == 1 else f"{stage.name}.{name}": value
            for stage in self.stages
            for name, value in stage.metrics.items()
        }


class PipelineFailed(StageFailed):
    """At least one stage failed; `outcome` says what became of each."""

    def __init__(self, outcome: PipelineOutcome) -> None:
        first, *others = outcome.failed
        more = "".join(f"\n{stage.error}" for stage in others)
        skipped = [stage.name for stage in outcome.stages if stage.status == "skipped"]
        after = f"\nnot run because of it: {', '.join(skipped)}" if skipped else ""
        hint = f"the whole output is in {first.log}; lockgate run goes on from here" if first.log else None
        super().__init__(f"{first.error}{more}{after}", hint=hint)
        self.outcome = outcome


def describe(outcome: StageOutcome) -> str:
    """One stage's end in a few words."""
    if outcome.status == "ran":
        return f"done in {outcome.duration_s:.1f} s"
    if outcome.status == "failed":
        return f"failed after {outcome.duration_s:.1f} s"
    return f"{outcome.status} ({outcome.reason})"
