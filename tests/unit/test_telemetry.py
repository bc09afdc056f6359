import json
import logging
import sys
from collections.abc import Iterator

import pytest

from lockgate.telemetry import JsonFormatter, configure_logging, write_crash_report


@pytest.fixture(autouse=True)
def root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger("lockgate")
    before = (root.handlers[:], root.level, root.propagate)
    yield
    root.handlers[:], root.level, root.propagate = before[0], before[1], before[2]


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("lockgate.x", logging.WARNING, "x.py", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_json_line_has_the_fields_of_the_call() -> None:
    line = json.loads(JsonFormatter().format(record("took %d ms", 3, fields={"run": "r1"})))
    assert isinstance(line.pop("at"), int)
    assert line == {"level": "warning", "logger": "lockgate.x", "message": "took 3 ms", "run": "r1"}


def test_json_line_carries_the_traceback() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    assert "ValueError: no" in json.loads(JsonFormatter().format(made))["traceback"]


def test_json_line_survives_what_json_cannot_hold() -> None:
    line = json.loads(JsonFormatter().format(record("x", fields={"where": object(), "seen": {1, 2}})))
    assert line["message"] == "x"
    assert "object" in line["where"]


@pytest.mark.parametrize("format_", ["text", "json"])
def test_logs_go_to_standard_error_once_however_often_configured(
    capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    configure_logging(format_)
    configure_logging(format_)
    logging.getLogger("lockgate.deep.inside").info("hello")
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.count("hello") == 1
    assert out.err.startswith("{") == (format_ == "json")


def test_crash_report_is_private_and_holds_the_traceback() -> None:
    try:
        raise ValueError("the bug")
    except ValueError as error:
        path = write_crash_report(error)
    try:
        assert "ValueError: the bug" in path.read_text()
        assert path.stat().st_mode & 0o077 == 0
    finally:
        path.unlink()
