"""`{tests: pytest tests/model}`: any command that writes JUnit XML says how the candidate behaves.

The command runs in the project's folder with LOCKGATE_MODEL_PATH set to the candidate's directory. `{junit}` in it is
replaced by the file to write; pytest gets `--junitxml` by itself; `junit: PATH` names a file that it writes anyway.
"""

import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lockgate.entities import Check, Scalar
from lockgate.errors import InvalidInput
from lockgate.gates.junit import JunitResult, read_junit
from lockgate.gates.words import count
from lockgate.project import TestsGate, duration_s

MODEL_PATH_VARIABLE = "LOCKGATE_MODEL_PATH"
_TAIL_BYTES = 4_000
_ASSIGNMENT = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*=")


class _Ended(NamedTuple):
    exit_code: int | None  # None: stopped at the time limit
    output: str


def check_tests(gate: TestsGate, *, root: Path, candidate: Path, environ: Mapping[str, str]) -> Check:
    """Passed where the command exits with 0, wrote its report, ran a test at least, and none failed."""
    with tempfile.TemporaryDirectory(prefix="lockgate-tests-") as folder:
        report = root / gate.junit if gate.junit else Path(folder) / "junit.xml"
        report.unlink(missing_ok=True)  # the report of an earlier run must not speak for this one
        output = Path(folder) / "output"
        environment = {**environ, MODEL_PATH_VARIABLE: str(candidate)}
        ended = _run(command_line(gate, report), root, environment, output, duration_s(gate.timeout))
        result, trouble = _read(report)
    details: dict[str, Scalar] = {"exit_code": ended.exit_code, "output": ended.output[-1000:]}
    if result is not None:
        details |= {"tests": result.tests, "failed": result.failed, "skipped": result.skipped}
    refusal = _refusal(gate, ended, result, trouble)
    reason = refusal or f"{count(result.ran if result else 0, 'test')} passed."
    return Check(
        gate=gate.tests, kind="tests", status="failed" if refusal else "passed", reason=reason, details=details
    )


def command_line(gate: TestsGate, report: Path) -> str:
    """The command as the shell gets it."""
    quoted = shlex.quote(str(report))
    if "{junit}" in gate.tests:
        return gate.tests.replace("{junit}", quoted)
    if gate.junit is None and _is_pytest(gate.tests):
        return f"{gate.tests} --junitxml={quoted}"
    return gate.tests


def _is_pytest(command: str) -> bool:
    try:
        words = [word for word in shlex.split(command) if not _ASSIGNMENT.match(word)]
    except ValueError:
        return False
    if not words or any(word.startswith("--junitxml") for word in words):
        return False
    name = Path(words[0]).name
    return name in ("pytest", "py.test") or (name.startswith("python") and words[1:3] == ["-m", "pytest"])


def _run(command: str, root: Path, environ: Mapping[str, str], output: Path, timeout_s: float) -> _Ended:
    with output.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S602  # the user's own line of lockgate.yaml, as stages are
            command,
            shell=True,
            cwd=root,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that a time limit ends what the command started, too
        )
        try:
            exit_code: int | None = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            exit_code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - _TAIL_BYTES))
        return _Ended(exit_code, file.read().decode(errors="replace").strip())


def _read(report: Path) -> tuple[JunitResult | None, str | None]:
    if not report.is_file():
        return None, f"the command wrote no JUnit report ({report.name}); put {{junit}} where it takes the file's name"
    try:
        return read_junit(report), None
    except InvalidInput as error:
        return None, error.message.rstrip(".")


def _refusal(gate: TestsGate, ended: _Ended, result: JunitResult | None, trouble: str | None) -> str | None:
    """Why the candidate is refused; None where it is not."""
    last = ended.output.splitlines()[-1] if ended.output else "it printed nothing"
    if ended.exit_code is None:
        return f"the tests did not end within {gate.timeout}. Last line: {last}"
    if result is None:
        return f"{trouble}. Exit code {ended.exit_code}; last line: {last}"
    if result.failed:
        first = "; ".join(f"{name}: {message}" if message else name for name, message in result.failures[:3])
        return f"{result.failed} of {count(result.ran, 'test')} failed: {first}"
    if ended.exit_code != 0:
        return f"no test failed, but the command ended with exit code {ended.exit_code}. Last line: {last}"
    if result.ran == 0:
        return "the report has no test that ran; a suite that tests nothing proves nothing."
    return None
