"""Downloads over connections that break, from a server that counts what it is asked."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from lockgate.client.http import HttpTransport
from lockgate.errors import DataDamaged, Unavailable
from lockgate.server.ranges import wanted_range

DATA = bytes(range(256)) * 40_000  # 10 MB


class Flaky:
    """Serves `data`, and breaks off each answer after `breaks_after` bytes; None lets all of it through."""

    def __init__(self, *breaks_after: int | None) -> None:
        self.data = DATA
        self.digest = blake3(DATA).hexdigest()
        self.etag = '"1"'
        self.replaced_by: bytes | None = None  # after the first answer
        self.breaks_after = list(breaks_after)
        self.asked: list[tuple[str | None, str | None]] = []


@contextmanager
def serving(flaky: Flaky) -> Iterator[HttpTransport]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted, same = self.headers["Range"], self.headers["If-Range"]
            flaky.asked.append((wanted, same))
            part = wanted_range(wanted or "", len(flaky.data)) if same == flaky.etag else None
            body = flaky.data if part is None else flaky.data[part.start : part.stop]
            self.send_response(200 if part is None else 206)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", flaky.etag)
            self.send_header("X-Lockgate-Digest", flaky.digest)
            self.end_headers()
            limit = flaky.breaks_after.pop(0) if flaky.breaks_after else None
            self.wfile.write(body[:limit])
            self.close_connection = limit is not None
            if flaky.replaced_by is not None:
                flaky.data, flaky.digest, flaky.etag = flaky.replaced_by, blake3(flaky.replaced_by).hexdigest(), '"2"'

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        transport = HttpTransport(f"http://127.0.0.1:{server.server_port}", user="a")
        yield transport
        transport.close()
        server.shutdown()
        thread.join()


def test_broken_download_goes_on_where_it_broke(tmp_path: Path) -> None:
    flaky = Flaky(3_000_000, 2_000_000, None)
    with serving(flaky) as transport:
        transport.get_file("f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert flaky.asked == [(None, None), ("bytes=3000000-", '"1"'), ("bytes=5000000-", '"1"')]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_file_that_was_replaced_meanwhile_comes_whole(tmp_path: Path) -> None:
    flaky = Flaky(3_000_000)
    with serving(flaky) as transport:
        flaky.replaced_by = DATA[::-1]
        transport.get_file("f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA[::-1]


def test_connection_that_never_brings_a_byte_is_given_up(tmp_path: Path) -> None:
    flaky = Flaky(1_000_000, 0, 0, 0)
    with serving(flaky) as transport, pytest.raises(Unavailable):
        transport.get_file("f", tmp_path / "f")
    assert list(tmp_path.iterdir()) == []
    assert len(flaky.asked) == 4


def test_bytes_that_are_not_what_the_server_has_are_thrown_away(tmp_path: Path) -> None:
    flaky = Flaky()
    flaky.data = b"spoiled on the way"
    with serving(flaky) as transport, pytest.raises(DataDamaged, match="does not have the digest"):
        transport.get_file("f", tmp_path / "f")
    assert list(tmp_path.iterdir()) == []
