"""What an S3 may do besides what it should: refuse keys, lose answers, stop reading, be something else."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from blake3 import blake3

from lockgate.clock import FakeClock
from lockgate.errors import InvalidInput, NotFound, PayloadTooLarge, Unavailable
from lockgate.server.artifacts.s3 import S3Artifacts, part_bytes
from lockgate.server.artifacts.s3_errors import Answer
from lockgate.server.artifacts.store import Part

pytest.importorskip("s3fs")

Reply = tuple[int, dict[str, str], bytes]


@contextmanager
def answering(reply: Callable[[BaseHTTPRequestHandler], Reply]) -> Iterator[str]:
    """The address of something that answers every request by `reply`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = reply(self)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815  # http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@pytest.fixture
def point_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lead the environment to an address, as an operator does."""
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    return lambda url: monkeypatch.setenv("AWS_ENDPOINT_URL", url)


def in_bucket(s3_url: str, kind: type[S3Artifacts] = S3Artifacts) -> S3Artifacts:
    place = urlsplit(s3_url)
    return kind(place.netloc, place.path.strip("/"))


def put(store: S3Artifacts, path: str, data: bytes) -> None:
    upload = store.begin(path, size_bytes=len(data))
    upload.write(data)
    upload.commit(blake3(data).hexdigest())


def get(store: S3Artifacts, path: str) -> bytes:
    return store.open(path).content.read(1 << 20)


def test_signed_url_of_a_name_with_a_version_in_it_leads_to_no_other_file(s3_url: str) -> None:
    store = in_bucket(s3_url)
    put(store, "0/page", b"another file")
    put(store, "0/page?versionId=7", b"mine")
    url, _ = store.download_url("0/page?versionId=7", expires_s=60)
    assert httpx.get(url).content == b"mine"
    assert httpx.put(store.upload_url("0/page?versionId=7", expires_s=60), content=b"new").status_code == 200
    begun = store.begin_parts("0/page?versionId=8", 1, expires_s=60)
    sent = httpx.put(begun.urls[0], content=b"parts").headers["ETag"]
    store.complete_parts("0/page?versionId=8", begun.upload_id, [Part(1, sent)])
    assert [get(store, f"0/page{version}") for version in ("", "?versionId=7", "?versionId=8")] == [
        b"another file",
        b"new",
        b"parts",
    ]


def test_store_that_stops_reading_is_given_up(point_to: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # connects, and takes no more than fits its buffers
        point_to(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        store = S3Artifacts("bucket", "", connect_limit_s=0.1, read_limit_s=0.1, slowest=1 << 30)
        with pytest.raises(Unavailable, match="S3 took too long for '0/f' in the bucket 'bucket'"):
            store.call("upload_part", "0/f", Key="0/f", UploadId="u", PartNumber=1, Body=bytes(32 << 20))


def test_folder_that_nothing_was_stored_in_is_none(s3_url: str) -> None:
    store = in_bucket(s3_url)
    store.begin("0/m/x").abort()
    store.begin_parts("0/m/y", 1, expires_s=60)
    put(store, "0/m", b"file")
    with pytest.raises(InvalidInput, match="below a file"):
        store.begin("0/m/x")


def test_what_another_server_has_stored_and_deleted_is_known(s3_url: str) -> None:
    ours, theirs = in_bucket(s3_url), in_bucket(s3_url)
    put(ours, "0/m/x", b"x")
    theirs.delete("0/m")
    put(theirs, "0/m", b"file")
    with pytest.raises(InvalidInput, match="below a file"):
        ours.begin("0/m/x")


class LosesTheAnswer(S3Artifacts):
    """Completes uploads, and has forgotten them when it is asked again."""

    def call(self, operation: str, path: str, **arguments: Any) -> Answer:
        answer = super().call(operation, path, **arguments)
        if operation == "complete_multipart_upload":
            raise NotFound(f"there is no artifact {path!r}.")
        return answer


class Forgets(S3Artifacts):
    """The upload, before it is complete."""

    def call(self, operation: str, path: str, **arguments: Any) -> Answer:
        if operation == "complete_multipart_upload":
            raise NotFound(f"there is no artifact {path!r}.")
        return super().call(operation, path, **arguments)


def test_upload_whose_last_answer_was_lost_is_stored(s3_url: str) -> None:
    store = in_bucket(s3_url, LosesTheAnswer)
    data = b"x" * (9 << 20)
    put(store, "0/f", data)
    assert store.open("0/f").info.size_bytes == len(data)
    begun = store.begin_parts("0/g", 1, expires_s=60)
    sent = httpx.put(begun.urls[0], content=b"parts").headers["ETag"]
    store.complete_parts("0/g", begun.upload_id, [Part(1, sent)])
    assert get(store, "0/g") == b"parts"


def test_upload_that_was_not_completed_is_not_taken_for_what_was_there_before(s3_url: str) -> None:
    put(in_bucket(s3_url), "0/f", b"x" * (9 << 20))
    with pytest.raises(NotFound):
        put(in_bucket(s3_url, Forgets), "0/f", b"y" * (9 << 20))


class Measures(S3Artifacts):
    """What is sent."""

    sent: tuple[int, ...] = ()

    def call(self, operation: str, path: str, **arguments: Any) -> Answer:
        if "Body" in arguments:
            self.sent += (len(arguments["Body"]),)
        return super().call(operation, path, **arguments)


@pytest.mark.parametrize("announced", [None, 20 << 20, 5 << 40])
def test_upload_sends_what_has_come_whatever_it_announces(s3_url: str, announced: int | None) -> None:
    store = in_bucket(s3_url, Measures)
    upload = store.begin("0/f", size_bytes=announced)
    for _ in range(4):
        upload.write(b"x" * (5 << 20))
    assert store.sent == (8 << 20, 8 << 20)
    upload.commit("a" * 64)
    assert store.sent == (8 << 20, 8 << 20, 4 << 20)


def test_file_of_whole_parts_ends_with_a_whole_part(s3_url: str) -> None:
    store = in_bucket(s3_url, Measures)
    put(store, "0/one", b"x" * (8 << 20))
    put(store, "0/two", b"x" * (16 << 20))
    assert store.sent == (8 << 20, 8 << 20, 8 << 20)
    assert store.open("0/two").info.size_bytes == 16 << 20


@pytest.mark.parametrize("size", [84_000_000_000, 1 << 40, 5 << 40])
def test_announced_size_fits_the_parts_of_s3_while_memory_grows_with_what_came(size: int) -> None:
    parts = sent = 0
    while sent < size:
        part = part_bytes(size, sent)
        assert 8 << 20 <= part <= max(8 << 20, sent // 500)
        sent += part
        parts += 1
    assert parts <= 10_000


def test_part_of_an_upload_of_unknown_size_does_not_grow() -> None:
    assert part_bytes(0, 1 << 36) == part_bytes(10 << 30, 1 << 36) == 8 << 20


def test_file_larger_than_what_s3_keeps_is_refused_before_it_comes(s3_url: str) -> None:
    store = in_bucket(s3_url)
    with pytest.raises(PayloadTooLarge, match="'0/f' is announced with 1000000000000000 bytes"):
        store.begin("0/f", size_bytes=10**15)
    store.begin("0/f", size_bytes=5 << 40).abort()


def test_only_names_that_can_be_asked_for_are_listed(s3_url: str) -> None:
    store = in_bucket(s3_url)
    for name in ("f", "back\\slash", "%2e%2e", "a:b", "folder\\/f", "x" * 300):
        store.call("put_object", "", Key=f"{urlsplit(s3_url).path.strip('/')}/0/{name}".lstrip("/"), Body=b"x")
    assert [item.path for item in store.list("0", limit=10).files] == ["0/a:b", "0/f"]


def test_page_of_a_listing_is_as_long_as_was_asked_for(s3_url: str) -> None:
    store = in_bucket(s3_url)
    with ThreadPoolExecutor(8) as senders:
        list(senders.map(lambda n: store.call("put_object", "", Key=f"some/where/0/{n:04}", Body=b"x"), range(1_005)))
    page = store.list("0", limit=1_002)
    assert [file.path for file in page.files] == [f"0/{number:04}" for number in range(1_002)]
    rest = store.list("0", limit=1_002, token=page.next_token)
    assert ([file.path for file in rest.files], rest.next_token) == (["0/1002", "0/1003", "0/1004"], "")


def test_keys_that_were_replaced_are_read_again_once_a_minute_at_most(
    point_to: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = "second"

    def reply(request: BaseHTTPRequestHandler) -> Reply:
        if f"Credential={wanted}/" in request.headers["Authorization"]:
            return 200, {"ETag": '"tag"', "Content-Length": "5"}, b""
        return 403, {}, b""

    clock = FakeClock()
    with answering(reply) as url:
        point_to(url)
        store = S3Artifacts("bucket", "", monotonic=clock.monotonic)
        for key in ("first", "second"):  # where they come from there are others by the second call
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
            if key == "first":
                with pytest.raises(Unavailable, match="S3 refuses access"):
                    store.open("0/f")
        assert store.open("0/f").info.etag == "tag"
        wanted = "third"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "third")
        for _ in range(3):
            with pytest.raises(Unavailable):
                store.open("0/f")
        clock.sleep(60)
        with pytest.raises(Unavailable):
            store.open("0/f")
        assert store.open("0/f").info.etag == "tag"


def test_refused_look_at_a_file_says_that_it_was_refused(point_to: Callable[[str], None]) -> None:
    with answering(lambda _: (400, {}, b"")) as url:  # of a token that has ended; a HEAD is not told so
        point_to(url)
        with pytest.raises(Unavailable, match="S3 refuses access to '0/f'") as refused:
            S3Artifacts("bucket", "").open("0/f")
    assert "AWS_ACCESS_KEY_ID" in (refused.value.hint or "")


def test_what_is_no_s3_is_said_to_be_none(point_to: Callable[[str], None]) -> None:
    with answering(lambda _: (200, {"Content-Type": "text/html"}, b"<html>please log in</html>")) as url:
        point_to(url)
        store = S3Artifacts("bucket", "")
        for operation in ("head_object", "put_object", "create_multipart_upload"):
            with pytest.raises(Unavailable, match="does not say what S3 says"):
                store.call(operation, "0/f", Key="0/f")


def test_body_that_ends_early_is_named(point_to: Callable[[str], None]) -> None:
    def reply(request: BaseHTTPRequestHandler) -> Reply:
        request.close_connection = True
        return 200, {"ETag": '"tag"', "Content-Length": "1000"}, b"too little"

    with answering(reply) as url:
        point_to(url)
        opened = S3Artifacts("bucket", "").open("0/f")
        with pytest.raises(Unavailable, match="0/f"):
            opened.content.read(1000)
