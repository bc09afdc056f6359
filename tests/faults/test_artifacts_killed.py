"""kill -9 of the server in the middle of an upload, and a disk that fills: a file is there whole or not at all."""

import http.client
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lockgate.server.artifacts.folder import ArtifactFolder

PATH = "/api/2.0/mlflow-artifacts/artifacts"

SERVER = """
import sys, time
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread
server = serve_in_thread(make_app(open_context(Path(sys.argv[1]), user="server", clock=SystemClock())))
print(server.port, flush=True)
time.sleep(120)
"""

FILLED = """
    import errno, os, sys
    from pathlib import Path
    from lockgate.client.http import HttpTransport
    from lockgate.clock import SystemClock
    from lockgate.errors import StorageFull
    from lockgate.server.app import make_app
    from lockgate.server.context import open_context
    from lockgate.server.run import serve_in_thread
    state, device = Path(sys.argv[1]), Path(sys.argv[2])
    context = open_context(state, user="a", clock=SystemClock(), artifacts=str(device))
    app = make_app(context)
    with serve_in_thread(app) as server:
        transport = HttpTransport(server.url, user="a")
        (state / "small").write_bytes(b"small")
        (state / "big").write_bytes(os.urandom(4_000_000))
        transport.put_file("0/f", state / "small")
        for _ in range(3):
            try:
                transport.put_file("0/f", state / "big")
            except StorageFull as error:
                assert "full" in error.message and str(device) not in error.message, error
            else:
                raise SystemExit("the disk did not fill")
        assert list((device / ".partial").iterdir()) == []
        transport.get_file("0/f", state / "back")
        assert (state / "back").read_bytes() == b"small"
        transport.put_file("0/g", state / "small")
        transport.close()
    app.close()
    context.close()
"""


def test_upload_of_a_killed_server_is_not_visible_and_is_cleaned_up_later(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    before = folder.begin("0/f")
    before.write(b"before")
    before.commit("a" * 64)
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()), timeout=20)
        connection.putrequest("PUT", f"{PATH}/0/f")
        connection.putheader("Content-Length", str(64 << 20))
        connection.endheaders()
        for _ in range(32):  # more than lies in the buffers between us, so the server has written some of it
            connection.send(b"x" * (1 << 20))
        os.kill(process.pid, signal.SIGKILL)
        connection.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    (leftover,) = folder.partial.iterdir()
    assert leftover.stat().st_size > 0
    assert [item.path for item in folder.list("0", limit=10).files] == ["0/f"]
    found = folder.open("0/f").content
    assert found.read(10) == b"before"
    found.close()
    assert folder.clean(before_ms=2**53) == 1
    assert list(folder.partial.iterdir()) == []


def test_full_disk_is_said_and_the_service_goes_on_reading(tmp_path: Path) -> None:
    for name in ("state", "device"):
        (tmp_path / name).mkdir()
    script = 'mount -t tmpfs -o size=1m tmpfs "$2" || exit 77; exec "$3" -c "$4" "$1" "$2"'
    arguments = [tmp_path / "state", tmp_path / "device", sys.executable, textwrap.dedent(FILLED)]
    done = subprocess.run(
        ["unshare", "-mr", "sh", "-c", script, "sh", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
