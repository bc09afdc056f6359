import base64
import dataclasses
import hashlib
import http.client
import io
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from blake3 import blake3

from lockgate.config import Settings
from lockgate.entities import Release
from lockgate.errors import Unavailable
from lockgate.metadata.releases import create_release
from lockgate.server.app import make_app
from lockgate.server.artifacts.folder import ArtifactFolder, FileUpload
from lockgate.server.artifacts.open import open_artifacts
from lockgate.server.artifacts.s3 import S3Artifacts
from lockgate.server.artifacts.store import ArtifactInfo, OpenArtifact, Replaced
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread

ROOT = "/api/2.0/mlflow-artifacts/artifacts"


def test_file_is_stored_whole_and_served_as_a_download(asked) -> None:
    data = bytes(range(256)) * 10_000
    assert asked.ask("PUT", f"{ROOT}/0/run/a%20b.bin", data)[0] == 200
    status, found, headers = asked.ask("GET", f"{ROOT}/0/run/a%20b.bin")
    assert (status, found) == (200, data)
    assert headers["content-disposition"] == 'attachment; filename="a b.bin"'
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert asked.ask("GET", f"{ROOT}?path=0/run")[1] == {
        "files": [{"path": "a b.bin", "is_dir": False, "file_size": 2_560_000}]
    }
    assert asked.ask("GET", f"{ROOT}?path=0")[1] == {"files": [{"path": "run", "is_dir": True}]}
    assert asked.ask("GET", f"{ROOT}?path=nothing")[1] == {"files": []}


def test_empty_file_is_a_file(asked) -> None:
    assert asked.ask("PUT", f"{ROOT}/0/empty", b"")[0] == 200
    assert asked.ask("GET", f"{ROOT}/0/empty")[:2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "../lockgate.secret",
        "%2e%2e/lockgate.secret",
        "0/..%2f..%2f..%2flockgate.secret",
        "%2fetc/passwd",
        "/etc/passwd",
        "0/%5c..%5clockgate.secret",
        "..%5clockgate.secret",
        "0/a%00b",
        "/0/a",
        "C:/windows",
        "0/%252e/a",
    ],
)
def test_path_never_leaves_its_folder(asked, path: str) -> None:
    beside = asked.context.artifacts.root.parent
    beside.mkdir(exist_ok=True)  # where the records are in PostgreSQL nobody has made it yet
    (beside / "lockgate.secret").write_text("theirs")
    for method in ("GET", "PUT"):
        status, answer, _ = asked.ask(method, f"{ROOT}/{path}", b"x" if method == "PUT" else None)
        assert status in (400, 404), answer
        assert answer["error_code"] in ("INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND")
    assert (beside / "lockgate.secret").read_text() == "theirs"


def test_doubly_encoded_trick_is_refused(asked) -> None:
    assert asked.ask("PUT", f"{ROOT}/0/%252e%252e%252fx", b"x")[0] == 400
    assert not (asked.context.artifacts.root / "0").exists()


def test_symbolic_link_does_not_lead_out(asked, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (asked.context.artifacts.root / "0").mkdir(parents=True)
    (asked.context.artifacts.root / "0" / "link").symlink_to(tmp_path)
    assert asked.ask("GET", f"{ROOT}/0/link/secret")[0] == 400
    assert asked.ask("PUT", f"{ROOT}/0/link/new", b"x")[0] == 400
    assert not (tmp_path / "new").exists()


def test_folder_and_file_do_not_replace_each_other(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/a/b", b"x")
    assert asked.ask("PUT", f"{ROOT}/0/a", b"x")[0] == 400
    assert asked.ask("PUT", f"{ROOT}/0/a/b/c", b"x")[0] == 400
    assert asked.ask("GET", f"{ROOT}/0/a/b")[1] == b"x"
    assert asked.ask("GET", f"{ROOT}/0/a/b/c")[0] == 404


def test_folder_that_is_asked_for_as_a_file_is_refused_in_mlflows_words(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/a/b", b"x")
    for path in ("0", "0/a"):
        status, answer, _ = asked.ask("GET", f"{ROOT}/{path}")
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert answer["message"] == f"Artifact path refers to a directory, not a file: '{path}'"
        assert asked.ask("HEAD", f"{ROOT}/{path}")[0] == 400
    assert asked.ask("GET", f"{ROOT}/0/nothing")[0] == 404


def test_upload_that_breaks_off_leaves_nothing(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"before")
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=20)
    connection.putrequest("PUT", f"{ROOT}/0/f")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(b"x" * 500_000)
    connection.close()
    assert asked.ask("GET", f"{ROOT}/0/f")[1] == b"before"
    partial = asked.context.artifacts.partial
    for _ in range(2_000):  # until the server has noticed
        if not list(partial.iterdir()):
            break
        asked.ask("GET", "/health")
    assert list(partial.iterdir()) == []
    assert [entry.name for entry in (asked.context.artifacts.root / "0").iterdir()] == ["f"]


def test_broken_download_is_resumed_by_a_range(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"0123456789")
    status, data, headers = asked.ask("GET", f"{ROOT}/0/f", headers={"Range": "bytes=4-"})
    assert (status, data) == (206, b"456789")
    assert headers["content-range"] == "bytes 4-9/10"
    same = {"Range": "bytes=4-5", "If-Range": headers["etag"]}
    assert asked.ask("GET", f"{ROOT}/0/f", headers=same)[:2] == (206, b"45")
    asked.ask("PUT", f"{ROOT}/0/f", b"abcdefghij")
    assert asked.ask("GET", f"{ROOT}/0/f", headers=same)[:2] == (200, b"abcdefghij")  # another file: all of it
    status, answer, headers = asked.ask("GET", f"{ROOT}/0/f", headers={"Range": "bytes=10-"})
    assert (status, answer["error_code"]) == (416, "INVALID_PARAMETER_VALUE")
    assert headers["content-range"] == "bytes */10"
    assert asked.ask("GET", f"{ROOT}/0/f", headers={"Range": "lines=1-2"})[0] == 200


def test_upload_that_is_not_what_it_promised_is_not_stored(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"before")
    right = base64.b64encode(hashlib.md5(b"content").digest()).decode()
    for headers in (
        {"Content-MD5": right},
        {"X-Lockgate-Digest": blake3(b"content").hexdigest()},
        {"Repr-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(b'content').digest()).decode()}:"},
    ):
        assert asked.ask("PUT", f"{ROOT}/0/f", b"contemt", headers=headers)[0] == 400
        assert asked.ask("GET", f"{ROOT}/0/f")[1] == b"before"
        assert asked.ask("PUT", f"{ROOT}/0/g", b"content", headers=headers)[0] == 200
    assert asked.ask("PUT", f"{ROOT}/0/g", b"content", headers={"Content-MD5": "?"})[0] == 400
    assert asked.ask("GET", f"{ROOT}/0/g")[2]["x-lockgate-digest"] == blake3(b"content").hexdigest()


RIGHT, WRONG = (base64.b64encode(hashlib.md5(data).digest()).decode() for data in (b"content", b"contemt"))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("Digest", (f"md5={WRONG}", f"md5={RIGHT}"), "does not have the digest it was sent with"),
        ("Digest", (f"md5={WRONG}", "unixsum=30637"), "does not have the digest it was sent with"),
        ("Digest", ("unixsum=30637", f"md5={RIGHT}"), None),
        ("Content-Digest", (f"md5=:{WRONG}:", ""), "does not have the content-digest it was sent with"),
        ("Repr-Digest", (f"md5=:{WRONG}:", "unixsum=:MQ==:"), "does not have the repr-digest it was sent with"),
        ("Repr-Digest", (f"md5=:{RIGHT}:", "unixsum=:MQ==:"), None),
        ("Content-MD5", (WRONG, RIGHT), "the header content-md5 was sent more than once."),
        ("Content-MD5", (RIGHT, ""), "the header content-md5 was sent more than once."),
        ("X-Lockgate-Digest", ("0" * 64, "1" * 64), "the header x-lockgate-digest was sent more than once."),
        ("If-None-Match", ('"a"', '"b"'), "cannot be stored under a condition"),
    ],
)
def test_every_line_of_a_header_that_an_upload_has_twice_counts(asked, name: str, values, says: str | None) -> None:
    answer = send_twice(asked, "PUT", name, values, b"content")
    if says is None:
        assert answer.status == 200
        assert asked.ask("GET", f"{ROOT}/0/f")[1] == b"content"
    else:
        assert (answer.status, says in json.loads(answer.body)["message"]) == (400, True), answer.body
        assert asked.ask("GET", f"{ROOT}/0/f")[0] == 404


def test_download_whose_range_or_condition_is_said_twice_is_refused(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"0123456789")
    for name, values in (("Range", ("bytes=2-3", "bytes=4-5")), ("If-Range", ('"a"', '"b"'))):
        answer = send_twice(asked, "GET", name, values)
        assert answer.status == 400
        assert json.loads(answer.body)["message"] == f"the header {name.lower()} was sent more than once."
    assert send_twice(asked, "GET", "Accept", ("text/plain", "*/*")).body == b"0123456789"


def test_refusal_of_a_large_upload_for_its_headers_is_heard(asked) -> None:
    answer = send_twice(asked, "PUT", "Content-MD5", (RIGHT, RIGHT), b"x" * (40 << 20))
    assert answer.status == 400


class Answered(NamedTuple):
    status: int
    body: bytes


def send_twice(asked, method: str, name: str, values: tuple[str, str], body: bytes = b"") -> Answered:
    """One request with a header on two lines."""
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=20)
    try:
        connection.putrequest(method, f"{ROOT}/0/f")
        for value in values:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answered(answer.status, answer.read())
    finally:
        connection.close()


def test_deleted_artifact_is_gone(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/a/f", b"x")
    assert asked.ask("DELETE", f"{ROOT}/0/a")[0] == 200
    assert asked.ask("GET", f"{ROOT}/0/a/f")[0] == 404
    assert asked.ask("DELETE", f"{ROOT}/content/x")[0] == 403


def test_parts_and_urls_are_refused_in_mlflows_words_where_files_go_through_the_server(asked) -> None:
    service = "/api/2.0/mlflow-artifacts"
    status, answer, _ = asked.ask("POST", f"{service}/mpu/create/0/f", b'{"path": "f", "num_parts": 2}')
    assert (status, answer["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert answer["message"] == "Multipart upload is not supported for the current artifact repository"
    assert asked.ask("GET", f"{service}/presigned/0/f")[0] == 501


def test_released_content_is_served_and_never_written(asked, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "code" / "a.py").write_text("pass")
    content = asked.context.store.put_tree(folder)
    path = f"content/{content.digest}"
    assert asked.ask("GET", f"{ROOT}/{path}/MLmodel")[0] == 404  # nobody released it yet
    release = Release(model="m", version=0, content=content, run_id="", created_at=1, created_by="a", flavor="x")
    with asked.context.write() as tx:
        create_release(tx, release, source=f"mlflow-artifacts:/{path}")
    assert asked.ask("GET", f"{ROOT}/{path}/MLmodel")[1] == b"flavors: {}"
    assert asked.ask("GET", f"{ROOT}?path={path}")[1]["files"] == [
        {"path": "MLmodel", "is_dir": False, "file_size": 11},
        {"path": "code", "is_dir": True},
    ]
    assert asked.ask("GET", f"{ROOT}?path={path}/code")[1]["files"][0]["path"] == "a.py"
    assert asked.ask("GET", f"{ROOT}/{path}/nothing")[0] == 404
    for inner in ("", "/code"):
        status, answer, _ = asked.ask("GET", f"{ROOT}/{path}{inner}")
        assert (status, "refers to a directory" in answer["message"]) == (400, True)
    assert asked.ask("GET", f"{ROOT}/content/xyz/MLmodel")[0] == 400
    status, answer, _ = asked.ask("PUT", f"{ROOT}/{path}/MLmodel", b"x")
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
    assert msgspec.structs.asdict(content)["kind"] == "tree"


def test_damaged_content_is_an_error_and_not_an_answer(asked, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    content = asked.context.store.put_tree(tmp_path / "model")
    release = Release(model="m", version=0, content=content, run_id="", created_at=1, created_by="a", flavor="x")
    with asked.context.write() as tx:
        create_release(tx, release, source="s")
    for blob in (asked.context.artifacts.root.parent / "store").rglob("*"):
        if blob.is_file() and blob.read_bytes() == b"flavors: {}":
            blob.chmod(0o644)
            blob.write_text("flavors: []")
    status, answer, _ = asked.ask("GET", f"{ROOT}/content/{content.digest}/MLmodel")
    assert (status, answer["error_code"]) == (500, "DATA_LOSS")


def test_refusal_of_a_large_upload_is_heard(asked) -> None:
    data = b"x" * (40 << 20)  # far more than the buffers between us hold
    status, answer, _ = asked.ask("PUT", f"{ROOT}/content/x", data)
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
    assert asked.ask("PUT", f"{ROOT}/0/../x", data)[0] == 400
    wrong = {"X-Lockgate-Digest": "a" * 64}
    assert asked.ask("PUT", f"{ROOT}/0/f", data, headers=wrong)[0] == 400
    assert not (asked.context.artifacts.root / "0").exists()


def test_upload_above_the_limit_is_refused_and_leaves_nothing(asked) -> None:
    app = make_app(asked.context, settings=Settings(max_artifact_mb=1))
    with serve_in_thread(app) as server:
        asked = dataclasses.replace(asked, port=server.port)
        assert asked.ask("PUT", f"{ROOT}/0/f", b"x" * (1 << 20))[0] == 200
        status, answer, _ = asked.ask("PUT", f"{ROOT}/0/g", b"x" * ((1 << 20) + 1))
        assert (status, "max_artifact_mb" in answer["hint"]) == (413, True)
        chunks = iter([b"x" * 1_000_000] * 3)  # whose size nobody announces
        assert asked.ask("PUT", f"{ROOT}/0/h", chunks)[0] == 413
    app.close()
    assert [entry.name for entry in (asked.context.artifacts.root / "0").iterdir()] == ["f"]
    assert list(asked.context.artifacts.partial.iterdir()) == []


def test_download_ends_when_its_client_goes(context) -> None:
    closed = threading.Event()

    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return bytes(size)

        def close(self) -> None:
            closed.set()

    class Artifacts(ArtifactFolder):
        def open(self, path: str) -> OpenArtifact:
            return OpenArtifact(ArtifactInfo(1 << 50, "etag", None), Endless())

    app = make_app(msgspec.structs.replace(context, artifacts=Artifacts(context.artifacts.root)))
    with serve_in_thread(app) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", f"{ROOT}/0/f")
        answer = connection.getresponse()
        assert len(answer.read(10_000_000)) == 10_000_000
        assert not closed.is_set()
        answer.close()
        connection.close()
        assert closed.wait(20)
    app.close()


class Failing(io.RawIOBase):
    """Gives `pieces`, of which an error is raised."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = list(pieces)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return offset

    def read(self, size: int = -1, /) -> bytes:
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


class Opens(ArtifactFolder):
    """One file after the other, each of 4 bytes."""

    files: tuple[io.RawIOBase, ...] = ()

    def open(self, path: str) -> OpenArtifact:
        first, *rest = self.files
        self.files = tuple(rest)
        return OpenArtifact(ArtifactInfo(4, "etag", None), first)


def test_store_that_gives_nothing_of_a_file_is_answered_with_the_reason(asked) -> None:
    artifacts = Opens(asked.context.artifacts.root)
    app = make_app(msgspec.structs.replace(asked.context, artifacts=artifacts))
    with serve_in_thread(app) as server:
        there = dataclasses.replace(asked, port=server.port)
        for headers in ({}, {"Range": "bytes=1-2"}):
            artifacts.files = (Failing(Unavailable("S3 refuses access to '0/f'.")),)
            status, answer, _ = there.ask("GET", f"{ROOT}/0/f", headers=headers)
            assert (status, answer["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
            assert answer["message"] == "S3 refuses access to '0/f'."
        artifacts.files = (Failing(Replaced("0/f")), Failing(b"once", b""))
        assert there.ask("GET", f"{ROOT}/0/f")[:2] == (200, b"once")  # there is another one by now
        artifacts.files = (Failing(Replaced("0/f")), Failing(Replaced("0/f")))
        assert there.ask("GET", f"{ROOT}/0/f")[0] == 503
    app.close()


def test_download_that_the_store_breaks_off_is_cut_with_one_line_and_no_traceback(asked, caplog) -> None:
    artifacts = Opens(asked.context.artifacts.root)
    artifacts.files = (Failing(b"12", Unavailable("S3 took too long.")),)
    app = make_app(msgspec.structs.replace(asked.context, artifacts=artifacts))
    with serve_in_thread(app) as server, pytest.raises(http.client.IncompleteRead):
        dataclasses.replace(asked, port=server.port).ask("GET", f"{ROOT}/0/f")
    app.close()
    assert [line for line in caplog.messages if "0/f" in line] == [
        "the download of '0/f' was cut off: S3 took too long."
    ]
    assert "Traceback" not in caplog.text


def test_leftovers_of_a_killed_server_go_when_one_starts_a_day_later(context) -> None:
    partial = context.artifacts.partial
    partial.mkdir(parents=True)
    for name, begun_s in (("old", 0), ("new", 86_400)):
        (partial / name).touch()
        os.utime(partial / name, (context.clock.now_ms() / 1000 + begun_s,) * 2)
    context.clock.sleep(86_401)
    make_app(context).close()  # its threads end when they have done what was asked of them
    assert [entry.name for entry in partial.iterdir()] == ["new"]


def test_bucket_that_is_not_there_is_told_at_the_start_and_in_answers(s3_url: str, context, caplog) -> None:
    artifacts = open_artifacts("s3://no-such-bucket/x", default=context.artifacts.root)
    app = make_app(msgspec.structs.replace(context, artifacts=artifacts))
    app.cleaned.result()
    told = "the bucket 'no-such-bucket' for artifacts does not exist.\n  next: make the bucket, or correct"
    assert told in caplog.text
    assert "Traceback" not in caplog.text
    with serve_in_thread(app) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("PUT", f"{ROOT}/0/f", b"x")
        assert connection.getresponse().status == 501
        connection.close()
    app.close()


def test_deletion_is_audited(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"x")
    assert asked.ask("DELETE", f"{ROOT}/0/f")[0] == 200
    status, answer, _ = asked.ask("GET", "/api/lockgate/1/access/list-audit")
    assert status == 200, answer
    entry = answer["entries"][0]
    assert (entry["operation"], entry["details"]) == ("mlflow-artifacts:delete", {"artifact_path": "0/f"})


def test_listing_pages_where_pages_are_asked_for(asked) -> None:
    for name in ("a", "b", "c"):
        asked.ask("PUT", f"{ROOT}/0/{name}", b"x")
    status, first, _ = asked.ask("GET", f"{ROOT}?path=0&max_results=2")
    assert (status, [item["path"] for item in first["files"]]) == (200, ["a", "b"])
    token = first["next_page_token"]
    _, rest, _ = asked.ask("GET", f"{ROOT}?path=0&max_results=2&page_token={token}")
    assert rest == {"files": [{"path": "c", "is_dir": False, "file_size": 1}]}
    assert asked.ask("GET", f"{ROOT}?path=0&max_results=2&page_token=%3F")[0] == 400
    assert asked.ask("GET", f"{ROOT}?path=0&max_results=-1")[0] == 400
    assert len(asked.ask("GET", f"{ROOT}?path=0")[1]["files"]) == 3  # MLflow's client knows no pages


@pytest.mark.parametrize("way", ["download", "upload"])
def test_presigned_url_of_a_run_is_refused_in_mlflows_words(asked, way: str) -> None:
    run_id = asked.ask("POST", "/api/2.0/mlflow/runs/create", b"{}")[1]["run"]["info"]["run_id"]
    body = json.dumps({"run_id": run_id, "path": "f"}).encode()
    status, answer, _ = asked.ask("POST", f"/api/2.0/mlflow/artifacts/presigned-{way}-url", body)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer["message"].startswith(f"Presigned {way} is not supported for")
    assert asked.ask("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", b'{"path": "f"}')[0] == 400


def test_log_that_grows_is_stored_in_this_process_as_it_was_when_it_was_opened(context, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"line\n" * 1000)

    class Artifacts(ArtifactFolder):
        def begin(self, path: str, *, size_bytes: int | None = None, digest: str | None = None) -> FileUpload:
            with log.open("ab") as file:
                file.write(b"one more\n")
            return super().begin(path, size_bytes=size_bytes, digest=digest)

    artifacts = Artifacts(context.artifacts.root)
    LocalTransport(msgspec.structs.replace(context, artifacts=artifacts)).put_file("0/log", log)
    assert (artifacts.root / "0" / "log").read_bytes() == b"line\n" * 1000


def test_store_that_does_not_answer_holds_up_nothing_else(asked, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:  # connects, and no more
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        artifacts = S3Artifacts("bucket", "", read_limit_s=1.0)
        app = make_app(msgspec.structs.replace(asked.context, artifacts=artifacts))
        with serve_in_thread(app) as server, ThreadPoolExecutor(6) as clients:
            there = dataclasses.replace(asked, port=server.port)
            listings = [clients.submit(there.ask, "GET", f"{ROOT}?path=0") for _ in range(6)]
            time.sleep(0.2)
            assert there.ask("POST", "/api/2.0/mlflow/experiments/search", b'{"max_results": 1}')[0] == 200
            assert not any(listing.done() for listing in listings)
            for listing in listings:
                status, answer, _ = listing.result()
                assert (status, answer["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        app.close()


def test_whole_listing_of_a_bucket_where_a_file_lies_beside_a_folder_of_its_name(asked, s3_url: str) -> None:
    artifacts = open_artifacts(s3_url, default=asked.context.artifacts.root)
    upload = artifacts.begin("0/a")
    for path in ("0/a/b", "0/a-b"):
        between = artifacts.begin(path)
        between.write(b"x")
        between.commit("a" * 64)
    upload.commit("a" * 64)
    app = make_app(msgspec.structs.replace(asked.context, artifacts=artifacts))
    with serve_in_thread(app) as server:
        status, answer, _ = dataclasses.replace(asked, port=server.port).ask("GET", f"{ROOT}?path=0")
    app.close()
    assert (status, [item["path"] for item in answer["files"]]) == (200, ["a", "a", "a-b"])


def test_url_for_an_upload_is_for_a_file_with_a_name(asked, s3_url: str) -> None:
    app = make_app(
        msgspec.structs.replace(asked.context, artifacts=open_artifacts(s3_url, default=asked.context.artifacts.root))
    )
    with serve_in_thread(app) as server:
        there = dataclasses.replace(asked, port=server.port)
        run_id = there.ask("POST", "/api/2.0/mlflow/runs/create", b"{}")[1]["run"]["info"]["run_id"]
        for path, expected in (("", 400), (".", 400), ("x/", 400), ("a/..", 400), ("x", 200), ("d/x", 200)):
            body = json.dumps({"run_id": run_id, "path": path}).encode()
            status, answer, _ = there.ask("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", body)
            assert (path, status) == (path, expected), answer
            body = json.dumps({"path": path, "num_parts": 1}).encode()
            status, answer, _ = there.ask("POST", "/api/2.0/mlflow-artifacts/mpu/create/0/m", body)
            assert (path, status) == (path, expected), answer
    app.close()


def test_head_knows_no_range(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"0123456789")
    for wanted in ("bytes=2-3", "bytes=20-"):
        status, _, headers = asked.ask("HEAD", f"{ROOT}/0/f", headers={"Range": wanted})
        assert (status, headers["content-length"]) == (200, "10")


def test_part_of_a_file_does_not_take_its_place(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"0123456789")
    status, answer, _ = asked.ask("PUT", f"{ROOT}/0/f", b"ab", headers={"Content-Range": "bytes 2-3/10"})
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert asked.ask("GET", f"{ROOT}/0/f")[1] == b"0123456789"


@pytest.mark.parametrize("name", ["If-None-Match", "If-Match", "If-Unmodified-Since"])
def test_file_is_not_stored_under_a_condition_that_nobody_looks_at(asked, name: str) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"before")
    status, answer, _ = asked.ask("PUT", f"{ROOT}/0/f", b"after", headers={name: "*"})
    assert (status, answer["hint"]) == (400, f"send it without {name}")
    assert asked.ask("GET", f"{ROOT}/0/f")[1] == b"before"


def test_name_that_is_no_text_is_refused(asked) -> None:
    for method in ("PUT", "GET", "DELETE"):
        assert asked.ask(method, f"{ROOT}/0/%ffbad", b"x" if method == "PUT" else None)[0] == 400
    assert asked.ask("PUT", f"{ROOT}/0/%ef%bf%bd", b"x")[0] == 200  # U+FFFD itself
