import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.app import App
from lockgate.cli.server import server
from lockgate.errors import InvalidInput


def test_server_says_where_it_is_and_ends_when_asked(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: m\ntask: regression\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "lockgate", "-C", str(tmp_path), "server", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
        assert answer.read() == b"OK"
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "stopped.\n", "")


def test_address_that_others_could_reach_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: m\ntask: regression\n")
    with pytest.raises(InvalidInput, match="without a login"):
        CliRunner().invoke(server, ["--host", "0.0.0.0"], obj=App(start=tmp_path), catch_exceptions=False)
