import os
import sys
import time
from pathlib import Path

import pytest

from lockgate.gates.behaviour import check_tests, command_line
from lockgate.project import TestsGate

ONE_PASSED = '<testsuite><testcase name="a"/></testsuite>'


def ask(tmp_path: Path, command: str, **options):
    return check_tests(
        TestsGate(tests=command, **options), root=tmp_path, candidate=tmp_path / "model", environ=os.environ
    )


def script(tmp_path: Path, body: str) -> str:
    (tmp_path / "suite.py").write_text(f"import os, sys, time\n{body}\n")
    return f"{sys.executable} suite.py"


def test_a_suite_that_passes_passes(tmp_path) -> None:
    command = script(tmp_path, f"open(sys.argv[1], 'w').write('{ONE_PASSED}')") + " {junit}"
    check = ask(tmp_path, command)
    assert (check.status, check.reason) == ("passed", "1 test passed.")


def test_pytest_gets_its_report_by_itself_and_sees_the_candidate(tmp_path) -> None:
    (tmp_path / "test_model.py").write_text(
        "import os\ndef test_path():\n    assert os.environ['LOCKGATE_MODEL_PATH'].endswith('model')\n"
        "def test_bad():\n    assert 1 == 2\n"
    )
    check = ask(tmp_path, f"{sys.executable} -m pytest -p no:cacheprovider test_model.py")
    assert check.status == "failed" and "1 of 2 tests failed: test_model::test_bad" in check.reason
    assert (check.details["tests"], check.details["failed"]) == (2, 1)


@pytest.mark.parametrize(
    ("command", "added"),
    [
        ("pytest tests/model", True),
        ("python -m pytest tests", True),
        ("A=1 pytest -q", True),
        ("python3.11 -m pytest", True),
        ("pytest --junitxml=x.xml", False),
        ("npx jest", False),
        ("python suite.py", False),
        ("echo pytest", False),
    ],
)
def test_only_pytest_is_told_where_to_write(command: str, added: bool) -> None:
    assert ("--junitxml=/r.xml" in command_line(TestsGate(tests=command), Path("/r.xml"))) == added


def test_a_report_that_the_command_names_itself_is_read(tmp_path) -> None:
    command = script(tmp_path, f"open('out.xml', 'w').write('{ONE_PASSED}')")
    assert ask(tmp_path, command, junit="out.xml").status == "passed"


def test_the_report_of_an_earlier_run_does_not_count(tmp_path) -> None:
    (tmp_path / "out.xml").write_text(ONE_PASSED)
    check = ask(tmp_path, script(tmp_path, "pass"), junit="out.xml")
    assert check.status == "failed" and "wrote no JUnit report (out.xml)" in check.reason


def test_a_command_that_dies_is_refused_with_its_last_line(tmp_path) -> None:
    check = ask(tmp_path, script(tmp_path, "print('no such model'); sys.exit(3)") + " {junit}")
    assert check.status == "failed"
    assert "Exit code 3; last line: no such model" in check.reason


def test_an_unknown_command_is_refused(tmp_path) -> None:
    check = ask(tmp_path, "no-such-tool {junit}")
    assert check.status == "failed" and "Exit code 127" in check.reason


def test_a_bad_exit_code_refuses_even_where_no_test_failed(tmp_path) -> None:
    command = script(tmp_path, f"open(sys.argv[1], 'w').write('{ONE_PASSED}'); sys.exit(2)") + " {junit}"
    check = ask(tmp_path, command)
    assert check.status == "failed" and "ended with exit code 2" in check.reason


def test_a_suite_without_tests_proves_nothing(tmp_path) -> None:
    command = script(tmp_path, "open(sys.argv[1], 'w').write('<testsuite/>')") + " {junit}"
    check = ask(tmp_path, command)
    assert check.status == "failed" and "tests nothing" in check.reason


def test_a_suite_that_hangs_is_ended_with_all_it_started(tmp_path) -> None:
    body = (
        "import subprocess\np = subprocess.Popen(['sleep', '60'])\nopen('pid', 'w').write(str(p.pid))\ntime.sleep(60)"
    )
    check = ask(tmp_path, script(tmp_path, body) + " {junit}", timeout="2s")
    assert check.status == "failed" and "did not end within 2s" in check.reason
    deadline = time.monotonic() + 10
    while _is_running(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline, "what the suite started is still running"
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
