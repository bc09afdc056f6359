"""One message over Apprise to a real HTTP server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lockgate.monitoring.alerts import send_with_apprise

received: list[dict[str, str]] = []


class Inbox(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


# Apprise imports what Python 3.13 has dropped, where it finds it.
@pytest.mark.filterwarnings("ignore:'(imghdr|cgi|audioop|pipes)' is deprecated:DeprecationWarning")
def test_a_message_arrives_and_an_address_that_is_none_or_down_is_told() -> None:
    server = HTTPServer(("127.0.0.1", 0), Inbox)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"json://127.0.0.1:{server.server_port}/"
        assert send_with_apprise(url, "title", "x drifted <b>")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert [(message["title"], message["message"]) for message in received] == [("title", "x drifted <b>")]
    assert not send_with_apprise(url, "title", "nobody listens")
    assert not send_with_apprise("no address", "title", "text")
