import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lockgate.cli.app import App
from lockgate.cli.monitor import monitor
from lockgate.clock import FakeClock
from lockgate.data.predictions import PredictionLog
from lockgate.entities import Prediction
from lockgate.errors import InvalidInput, LockgateError

HOUR = 3_600_000
NOW = 472_222 * HOUR


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "lockgate.yaml").write_text(
        "model: m\ntask: regression\nenvironments: {staging: {}, production: {}}\n"
        "monitor: {window: 1h, min_rows: 10, health: {latency_ms_p99: 5}}\n"
    )
    log = PredictionLog(
        tmp_path / ".lockgate/serving/production/predictions",
        replica="r",
        clock=FakeClock(NOW),
        keep_days=30,
        keep_mb=9,
    )
    log.append(
        [
            Prediction(
                prediction_id=f"p{i}",
                at=NOW + i,
                model="m",
                version=1,
                environment="production",
                inputs={"x": i},
                output=1.5,
                latency_ms=40.0,
            )
            for i in range(20)
        ]
    )
    log.close()
    return tmp_path


def run(project: Path, *arguments: str, at: int = NOW + HOUR + 5000) -> Result:
    return CliRunner().invoke(monitor, arguments, obj=App(start=project, clock=FakeClock(at)))


def test_the_last_complete_window_is_looked_at_once(project: Path) -> None:
    first, second = run(project), run(project)

    assert first.exit_code == 0, first.output
    assert "m version 1 in production, 2023-11-14 22:00:00 to 2023-11-14 23:00:00 UTC" in first.output
    assert "20 rows" in first.output
    assert "alerts: health" in first.output
    assert second.output == first.output.replace(
        "m version 1", "every complete window has been looked at; this was the last one:\nm version 1", 1
    )


def test_a_given_window_is_looked_at_and_drawn(project: Path) -> None:
    result = run(
        project,
        "--env",
        "production",
        "--start",
        "2023-11-14T22:00",
        "--end",
        str(NOW + HOUR),
        "--json",
        "--html",
        "m.html",
    )

    assert result.exit_code == 0, result.output
    (window,) = json.loads(result.stdout)
    assert (window["rows"], window["start_at"], window["end_at"]) == (20, NOW, NOW + HOUR)
    assert "health" in (project / "m.html").read_text()


def test_a_window_without_length_is_refused(project: Path) -> None:
    result = run(project, "--window", "0s")

    assert isinstance(result.exception, InvalidInput)
    assert result.exception.message == "--window is at least 1s, not 0s."


def test_an_alert_fails_the_command_only_where_that_is_asked_for(project: Path) -> None:
    result = run(project, "--fail-on-alert")

    assert isinstance(result.exception, LockgateError)
    assert result.exception.exit_code == 3
    assert "production raised alerts: health" in str(result.exception)


def test_nothing_to_send_is_said(project: Path) -> None:
    assert run(project, "--notify-only").output == "0 alerts sent.\n"


@pytest.mark.parametrize("arguments", [("--env", "prod"), ("--start", "yesterday"), ("--window", "1 hour")])
def test_wrong_input_is_exit_code_two(project: Path, arguments: tuple[str, ...]) -> None:
    result = run(project, *arguments)

    assert isinstance(result.exception, LockgateError)
    assert result.exception.exit_code == 2
