import io

import pytest

from lockgate.cli.progress import TerminalReporter
from lockgate.pipelines.outcome import StageOutcome
from lockgate.pipelines.reporter import PlainReporter, Reporter

RAN = StageOutcome(name="train", status="ran", reason="never ran", duration_s=1.25)
CACHED = StageOutcome(name="prepare", status="cached", reason="nothing changed")
FAILED = StageOutcome(name="test", status="failed", reason="never ran", duration_s=2, error="x")


def tell(reporter: Reporter) -> None:
    reporter.stage_finished(CACHED)
    reporter.message("before")
    reporter.stage_started("train", "never ran")
    reporter.stage_output("train", "[bold]loss[/bold] 0.1")
    reporter.stage_finished(RAN)
    reporter.stage_finished(FAILED)


def test_a_log_has_one_line_a_fact() -> None:
    stream = io.StringIO()
    tell(PlainReporter(stream))
    assert stream.getvalue().splitlines() == [
        "prepare: cached (nothing changed)",
        "before",
        "train: runs (never ran)",
        "train | [bold]loss[/bold] 0.1",
        "train: done in 1.2 s",
        "test: failed after 2.0 s",
    ]


def test_a_terminal_shows_what_happened_and_takes_output_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalReporter() as reporter:
        tell(reporter)
    assert [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()] == [
        "before",
        "train | [bold]loss[/bold] 0.1",
        "✓ train done in 1.2 s",
        "✗ test failed after 2.0 s",
    ]
