"""How the process ends whatever a command comes to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.cli.main import EXIT_UNREAD


def lockgate(*words: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lockgate", *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.parametrize("words", [["config"], ["config", "--json"]])
def test_output_that_nobody_reads_is_no_failure_of_a_stage(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = lockgate(*words, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (EXIT_UNREAD, "")


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="it takes a folder in which even root makes no file")
def test_file_that_may_not_be_written_is_no_bug() -> None:
    done = lockgate("-C", "/sys", "init", "--force")
    assert done.returncode == 2
    assert done.stderr.startswith("error: /sys/")
    assert "next: allow it to this user" in done.stderr
