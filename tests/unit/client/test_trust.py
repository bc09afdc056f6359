import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.errors import InvalidInput, Unavailable

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="it makes the certificate")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "own.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", made]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def uri(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def open_client(uri: str, environ: Mapping[str, str]) -> Client:
    return connect(Settings(uri=uri), state=Path(), user="ann", clock=SystemClock(), environ=environ)


def test_certificate_that_nobody_vouches_for_is_named_with_the_way_out(uri: str) -> None:
    with open_client(uri, {}) as client, pytest.raises(Unavailable, match="is not trusted") as raised:
        client.events.list_events()
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in str(raised.value.hint)


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_are_where_mlflows_client_looks_for_them(uri: str, certificate: Path, name: str) -> None:
    with open_client(uri, {name: str(certificate)}) as client:
        assert client.events.list_events() == []


def test_insecure_is_what_it_says(uri: str) -> None:
    with open_client(uri, {"MLFLOW_TRACKING_INSECURE_TLS": "true"}) as client:
        assert client.events.list_events() == []


def test_file_of_certificates_that_is_none_is_told(uri: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    for content in (None, "no certificate"):
        if content is not None:
            wrong.write_text(content)
        with pytest.raises(InvalidInput, match=r"REQUESTS_CA_BUNDLE names .*wrong.pem"):
            open_client(uri, {"REQUESTS_CA_BUNDLE": str(wrong)})
    open_client("http://127.0.0.1:9", {"REQUESTS_CA_BUNDLE": str(wrong)}).close()  # is not asked for
