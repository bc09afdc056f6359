"""Servers that are not what they were taken for."""

import http.server
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.main import lockgate
from lockgate.client.http import HttpTransport
from lockgate.errors import InvalidInput, LockgateError, PermissionDenied, Unauthenticated, Unavailable
from lockgate.exchange import answers
from lockgate.wire.mlflow.experiments import SearchExperiments


@contextmanager
def answering(status: int, said: bytes = b"no.") -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "https://login.example")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(uri: str) -> LockgateError:
    transport = HttpTransport(uri, user="ann", kind="MLflow")
    with pytest.raises(LockgateError) as caught:
        transport.call(answers.SEARCH_EXPERIMENTS, SearchExperiments())
    transport.close()
    return caught.value


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, Unauthenticated, "wants a login"),
        (403, PermissionDenied, "may not"),
        (302, InvalidInput, "leads to https://login.example"),
        (500, Unavailable, "a server of MLflow's"),
    ],
)
def test_answer_that_is_no_json_is_told_by_its_status(status: int, error: type[LockgateError], said: str) -> None:
    with answering(status) as uri:
        found = ask(uri)
    assert type(found) is error
    assert said in str(found)


def test_trouble_inside_a_server_of_mlflow_is_told_with_its_address() -> None:
    with answering(500, b'{"error_code": "INTERNAL_ERROR", "message": "boom"}') as uri:
        found = ask(uri)
    assert type(found) is Unavailable
    assert uri in str(found) and "INTERNAL_ERROR: boom" in str(found)


def test_silent_server_is_waited_for_no_longer_once_the_transport_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        transport = HttpTransport(f"http://127.0.0.1:{silent.getsockname()[1]}", user="ann", kind="MLflow")
        asked = pool.submit(transport.call, answers.SEARCH_EXPERIMENTS, SearchExperiments())
        taken, _ = silent.accept()
        with taken:
            assert taken.recv(4)
            transport.end()
            with pytest.raises(Unavailable):
                asked.result(30)  # half the time-out of a request
        with pytest.raises(Unavailable, match="nothing is asked"):
            transport.call(answers.SEARCH_EXPERIMENTS, SearchExperiments())
        transport.close()


def test_mlflow_server_that_does_not_run_is_not_started_with_lockgate() -> None:
    found = ask("http://127.0.0.1:9")
    assert isinstance(found, Unavailable)
    assert found.hint == "is it running? start it with: mlflow server"


def test_password_in_an_address_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    for way, uri in (("import", "http://ann:s3cret@127.0.0.1:9"), ("import", "ftp://ann:s3cret@host")):
        command = ["-C", str(tmp_path), way, "mlflow", uri]
        result = CliRunner().invoke(lockgate, command, standalone_mode=False)
        assert isinstance(result.exception, LockgateError)
        assert "s3cret" not in str(result.exception)
