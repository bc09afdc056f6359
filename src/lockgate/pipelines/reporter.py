"""How a run tells what happens while it happens."""

from threading import Lock
from typing import Protocol, TextIO

from lockgate.pipelines.outcome import StageOutcome, describe


class Reporter(Protocol):
    """Told of everything in the order it happens; calls never overlap."""

    def stage_started(self, stage: str, reason: str) -> None: ...

    def stage_output(self, stage: str, line: str) -> None: ...

    def stage_finished(self, outcome: StageOutcome) -> None: ...

    def message(self, text: str) -> None: ...


class PlainReporter:
    """One line a fact, the stage's name before each line of its output: for logs, pipes and CI."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def stage_started(self, stage: str, reason: str) -> None:
        self._write(f"{stage}: runs ({reason})")

    def stage_output(self, stage: str, line: str) -> None:
        self._write(f"{stage} | {line}")

    def stage_finished(self, outcome: StageOutcome) -> None:
        self._write(f"{outcome.name}: {describe(outcome)}")

    def message(self, text: str) -> None:
        self._write(text)

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


class QuietReporter:
    """Says nothing: for `--json` and for callers that only want the outcome."""

    def stage_started(self, stage: str, reason: str) -> None:
        """Nothing."""

    def stage_output(self, stage: str, line: str) -> None:
        """Nothing."""

    def stage_finished(self, outcome: StageOutcome) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""


class Serialised:
    """Lets the threads of a run talk to one reporter, one call at a time."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._lock = Lock()

    def stage_started(self, stage: str, reason: str) -> None:
        with self._lock:
            self._reporter.stage_started(stage, reason)

    def stage_output(self, stage: str, line: str) -> None:
        with self._lock:
            self._reporter.stage_output(stage, line)

    def stage_finished(self, outcome: StageOutcome) -> None:
        with self._lock:
            self._reporter.stage_finished(outcome)

    def message(self, text: str) -> None:
        with self._lock:
            self._reporter.message(text)
