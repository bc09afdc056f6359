"""What every store of artifacts promises, asked of a folder, of an fsspec filesystem and of S3."""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from blake3 import blake3

from lockgate.errors import InvalidInput, LockgateError, NotFound
from lockgate.server.artifacts.open import open_artifacts
from lockgate.server.artifacts.store import ArtifactInfo, ArtifactStore, IsFolder, Part, Replaced

LATE_MS = 2**53


@pytest.fixture(params=["folder", "memory", "local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    places = {
        "folder": lambda: str(tmp_path / "artifacts"),
        "memory": lambda: f"memory://{secrets.token_hex(4)}",
        "local": lambda: f"local://{tmp_path}/artifacts",  # a filesystem of fsspec that has folders
    }
    place = places.get(request.param, lambda: request.getfixturevalue("s3_url"))
    return open_artifacts(place(), default=tmp_path)


@pytest.fixture
def s3(s3_url: str, tmp_path: Path) -> ArtifactStore:
    return open_artifacts(s3_url, default=tmp_path)


def put(store: ArtifactStore, path: str, data: bytes) -> None:
    upload = store.begin(path, size_bytes=len(data))
    upload.write(data)
    upload.commit(blake3(data).hexdigest())


def get(store: ArtifactStore, path: str, start: int = 0) -> bytes:
    found = store.open(path)
    try:
        if start:
            found.content.seek(start)
        return b"".join(iter(lambda: found.content.read(1 << 20), b""))
    finally:
        found.content.close()


def info(store: ArtifactStore, path: str) -> ArtifactInfo:
    found = store.open(path)
    found.content.close()
    return found.info


def names(store: ArtifactStore, path: str = "") -> list[str]:
    return [item.path for item in store.list(path, limit=100).files]


def test_what_was_stored_is_read_back(store: ArtifactStore) -> None:
    put(store, "0/run/a b é.bin", b"content")
    put(store, "0/run/empty", b"")
    assert get(store, "0/run/a b é.bin") == b"content"
    assert get(store, "0/run/a b é.bin", start=3) == b"tent"
    assert get(store, "0/run/empty") == b""
    assert info(store, "0/run/a b é.bin").size_bytes == 7


def test_large_file_goes_in_pieces_both_ways(store: ArtifactStore) -> None:
    data = os.urandom(1 << 20) * 18  # several parts of S3
    upload = store.begin("0/large")
    for start in range(0, len(data), 1_000_003):
        upload.write(data[start : start + 1_000_003])
    upload.commit(blake3(data).hexdigest())
    assert get(store, "0/large") == data
    assert get(store, "0/large", start=17_000_000) == data[17_000_000:]


def test_nothing_is_visible_before_it_is_whole(store: ArtifactStore) -> None:
    put(store, "0/f", b"before")
    upload = store.begin("0/f")
    upload.write(b"half")
    assert get(store, "0/f") == b"before"
    assert names(store, "0") == ["0/f"]
    assert names(store) == ["0"]
    upload.abort()
    assert get(store, "0/f") == b"before"


def test_replaced_file_is_read_as_it_was_opened_or_not_at_all(store: ArtifactStore) -> None:
    before = b"a" * (20 << 20)
    put(store, "0/f", before)
    opened = store.open("0/f")
    begun = opened.content.read(10)
    put(store, "0/f", b"b" * (20 << 20))
    try:
        rest = b"".join(iter(lambda: opened.content.read(1 << 20), b""))
        assert begun + rest == before
    except LockgateError as error:
        assert "replaced" in error.message
    finally:
        opened.content.close()


@pytest.mark.parametrize("start", [0, 9 << 20])
def test_range_is_of_the_file_that_was_opened_or_of_none(store: ArtifactStore, start: int) -> None:
    put(store, "0/f", b"a" * (20 << 20))
    opened, read_before = store.open("0/f"), store.open("0/f")
    assert read_before.content.read(10) == b"a" * 10
    put(store, "0/f", b"b" * (20 << 20))  # of the same size
    for found in (opened, read_before):
        found.content.seek(start)
        try:
            assert found.content.read(10) == b"a" * 10
        except Replaced as error:
            assert error.message == "'0/f' was replaced while it was read."
        finally:
            found.content.close()


def test_etag_changes_with_the_content(store: ArtifactStore) -> None:
    put(store, "0/f", b"one")
    first = info(store, "0/f")
    assert info(store, "0/f") == first
    put(store, "0/f", b"two, and longer")
    assert info(store, "0/f").etag != first.etag


def test_listing_is_by_name_and_pages(store: ArtifactStore) -> None:
    for name in ("b", "a", "d/x", "c", "e"):
        put(store, f"0/{name}", b"12")
    page = store.list("0", limit=2)
    assert [(item.path, item.size_bytes) for item in page.files] == [("0/a", 2), ("0/b", 2)]
    found = list(page.files)
    while page.next_token:
        page = store.list("0", limit=2, token=page.next_token)
        found += page.files
    assert [(item.path, item.size_bytes) for item in found] == [
        ("0/a", 2),
        ("0/b", 2),
        ("0/c", 2),
        ("0/d", None),
        ("0/e", 2),
    ]


def test_listing_what_is_no_folder_is_empty(store: ArtifactStore) -> None:
    put(store, "0/f", b"x")
    assert names(store, "nothing") == []
    assert names(store, "0/f") == []
    assert names(store, "0/f/x") == []


def test_folder_is_told_apart_from_what_is_not_there(store: ArtifactStore) -> None:
    put(store, "0/a/b", b"x")
    asks = [store.open]
    if store.direct is not None:
        asks.append(lambda path: store.direct.download_url(path, expires_s=60))
    for ask in asks:
        for folder in ("0", "0/a", "0/a/", "./0//a"):
            with pytest.raises(IsFolder) as refused:
                ask(folder)
            assert refused.value.message == f"Artifact path refers to a directory, not a file: {folder!r}"
            assert (refused.value.http_status, refused.value.code) == (400, "INVALID_PARAMETER_VALUE")
        for nothing in ("1", "0/a/c", "0/a/b/c", "0/a/b/"):
            with pytest.raises(NotFound):
                ask(nothing)


def test_deleted_folder_is_gone_with_all_it_held(store: ArtifactStore) -> None:
    for name in ("0/a/x", "0/a/y/z", "0/ab"):
        put(store, name, b"x")
    assert store.delete("0/a")
    assert names(store, "0") == ["0/ab"]
    assert not store.delete("0/a")
    assert not store.delete("0/ab/x")
    assert store.delete("0/ab")
    with pytest.raises(NotFound):
        store.open("0/ab")


def test_deleted_name_is_no_pattern(store: ArtifactStore) -> None:
    kept = ["0/a1.txt", "0/b", "0/d1/x"]
    odd = ["0/*", "0/?", "0/a[1].txt", "0/d[1]/[x]/y", "0/d[1]/x"]
    for name in (*kept, *odd):
        put(store, name, b"x")
    assert not store.delete("0/[ab]*")
    assert not store.delete("*")
    for name in ("0/*", "0/?", "0/a[1].txt", "0/d[1]/[x]", "0/d[1]"):
        assert store.delete(name), name
        assert not store.delete(name), name
    assert names(store, "0") == ["0/a1.txt", "0/b", "0/d1"]
    assert names(store, "0/d1") == ["0/d1/x"]
    put(store, "0/d[1]", b"now a file")
    assert get(store, "0/d[1]") == b"now a file"


def test_leftovers_of_uploads_that_never_ended_are_cleaned(store: ArtifactStore) -> None:
    abandoned = [store.begin(name) for name in ("0/a", "0/b")]
    for upload in abandoned:
        upload.write(b"x" * (9 << 20))
    put(store, "0/kept", b"x")
    assert store.clean(before_ms=0) == 0
    assert store.clean(before_ms=LATE_MS) == 2
    assert store.clean(before_ms=LATE_MS) == 0
    for upload in abandoned:
        with suppress(NotFound):  # what there is to forget is gone already
            upload.abort()
    assert names(store, "0") == ["0/kept"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "/",
        "a/%2e/b",
        "a\\b",
        "..\\x",
        "a\0b",
        "C:/x",
        "%2e%2e/x",
        "%252e%252e/x",
        "a/\ufffe",  # S3 could never delete it
        "\uffff",
    ],
)
def test_path_with_tricks_is_refused_everywhere(store: ArtifactStore, path: str) -> None:
    for ask in (store.begin, store.delete):
        with pytest.raises(InvalidInput):
            ask(path)  # type: ignore[operator]  # each takes a path first
    with pytest.raises((InvalidInput, NotFound) if not path else InvalidInput):
        store.open(path)
    if path:
        with pytest.raises(InvalidInput):
            store.list(path, limit=1)


def test_path_has_many_spellings_and_one_file(store: ArtifactStore) -> None:
    put(store, "0/a/b", b"1")
    for spelling in ("0//a/b", "./0/a/b", "0/a/./b"):
        assert get(store, spelling) == b"1"
    for spelling in (".", "./", ""):
        assert names(store, spelling) == ["0"]
    assert names(store, "./0/.//a") == ["0/a/b"]
    put(store, "0/./a//b", b"2")
    assert get(store, "0/a/b") == b"2"
    for kept in ("./.partial/x", ".//.partial"):
        with pytest.raises(InvalidInput, match="kept for uploads"):
            store.begin(kept)
    assert store.delete("0/./a")
    assert names(store, "0") == []


@pytest.mark.parametrize("path", ["0/" + "x" * 256, "0/" + "\u00e9" * 128, "x/" * 600 + "x", "x" * 5_000])
def test_path_too_long_for_one_store_is_refused_by_all(store: ArtifactStore, path: str) -> None:
    for ask in (store.begin, store.open, store.delete):
        with pytest.raises(InvalidInput, match="too long"):
            ask(path)  # type: ignore[operator]  # each takes a path first


@pytest.mark.parametrize(
    "path", ["0/" + "x" * 255, "0/\u00e9 #?%&+=;,'\u202e", "0/100%", "0/a%20b", "0/~a:b", ".x/..y"]
)
def test_unusual_name_is_a_name(store: ArtifactStore, path: str) -> None:
    put(store, path, b"x")
    assert get(store, path) == b"x"
    assert names(store, path.partition("/")[0]) == [path]


def test_file_and_folder_do_not_take_each_others_place(store: ArtifactStore) -> None:
    put(store, "0/a/b/c", b"x")
    put(store, "0/ab", b"x")
    for _ in range(2):
        for taken in ("0/a/b/c/d", "0/a/b/c/d/e", "0/a/b", "0/a", "0"):
            with pytest.raises(InvalidInput):
                store.begin(taken)
        assert names(store, "0") == ["0/a", "0/ab"]
        put(store, "0/a/b/c", b"y")
    assert store.delete("0/a/b")
    put(store, "0/a/b", b"x")  # its folders are no longer folders


@pytest.mark.parametrize("path", ["0/", "0/a/", "0/a//", "0/a/.", "./0/."])
def test_what_names_a_folder_is_no_name_for_a_file(store: ArtifactStore, path: str) -> None:
    with pytest.raises(InvalidInput, match="names a folder"):
        store.begin(path)
    if store.direct is not None:
        with pytest.raises(InvalidInput, match="names a folder"):
            store.direct.upload_url(path, expires_s=60)
    put(store, "0/a/b", b"x")
    for spelling in ("0/a/b/", "0/a/b/.", "0/a/b//"):
        with pytest.raises(NotFound):
            store.open(spelling)
        if store.direct is not None:
            with pytest.raises(NotFound):
                store.direct.download_url(spelling, expires_s=60)


def test_file_beside_a_folder_of_its_name_is_listed(store: ArtifactStore) -> None:
    """As two uploads at the same time may leave it where there are no folders."""
    upload = store.begin("0/a")
    upload.write(b"x")
    put(store, "0/a/b", b"x")
    with suppress(LockgateError):
        upload.commit(blake3(b"x").hexdigest())
    assert set(names(store, "0")) == {"0/a"}


@pytest.mark.parametrize("store", ["folder", "memory", "local"], indirect=True)
@pytest.mark.parametrize(("path", "meanwhile"), [("0/m", "0/m/x"), ("0/m/x", "0/m")])
def test_upload_whose_name_was_taken_meanwhile_is_refused_and_leaves_nothing(
    store: ArtifactStore, path: str, meanwhile: str
) -> None:
    upload = store.begin(path)
    upload.write(b"late")
    put(store, meanwhile, b"first")
    with pytest.raises(InvalidInput):
        upload.commit(blake3(b"late").hexdigest())
    upload.abort()
    assert get(store, meanwhile) == b"first"
    assert [*names(store, "0"), *names(store, "0/m")] == (["0/m", "0/m/x"] if meanwhile == "0/m/x" else ["0/m"])
    assert store.clean(before_ms=LATE_MS) == 0


def test_s3_gives_no_url_for_what_it_would_not_take(s3: ArtifactStore) -> None:
    assert s3.direct is not None
    put(s3, "0/a/b", b"x")
    for taken in ("0/a", "0/a/b/c"):
        with pytest.raises(InvalidInput):
            s3.direct.upload_url(taken, expires_s=60)
        with pytest.raises(InvalidInput):
            s3.direct.begin_parts(taken, 1, expires_s=60)


def test_s3_takes_and_gives_files_directly(s3: ArtifactStore) -> None:
    assert s3.direct is not None
    assert httpx.put(s3.direct.upload_url("0/f", expires_s=60), content=b"direct").status_code == 200
    assert get(s3, "0/f") == b"direct"
    url, size = s3.direct.download_url("0/f", expires_s=60)
    assert (httpx.get(url).content, size) == (b"direct", 6)


def test_s3_takes_parts_directly(s3: ArtifactStore) -> None:
    assert s3.direct is not None
    begun = s3.direct.begin_parts("0/f", 2, expires_s=60)
    sent = []
    for number, url in enumerate(begun.urls, 1):
        sent.append(Part(number, httpx.put(url, content=b"x" * (5 << 20)).headers["ETag"]))
    with pytest.raises(NotFound):
        s3.open("0/f")
    s3.direct.complete_parts("0/f", begun.upload_id, sent)
    assert info(s3, "0/f").size_bytes == 10 << 20


def test_s3_refuses_parts_that_it_does_not_have(s3: ArtifactStore) -> None:
    assert s3.direct is not None
    begun = s3.direct.begin_parts("0/f", 2, expires_s=60)
    sent = [Part(n, httpx.put(url, content=b"small").headers["ETag"]) for n, url in enumerate(begun.urls, 1)]
    for wrong in (sent, [Part(1, "no such part")], []):  # too small, unknown, none
        with pytest.raises(InvalidInput):
            s3.direct.complete_parts("0/f", begun.upload_id, wrong)
    for count in (0, 10_001):
        with pytest.raises(InvalidInput, match="num_parts"):
            s3.direct.begin_parts("0/f", count, expires_s=60)
    assert names(s3) == []


def test_s3_aborts_what_a_client_gives_up(s3: ArtifactStore) -> None:
    assert s3.direct is not None
    begun = s3.direct.begin_parts("0/f", 1, expires_s=60)
    assert httpx.put(begun.urls[0], content=b"x").status_code == 200
    s3.direct.abort_parts("0/f", begun.upload_id)
    assert s3.clean(before_ms=LATE_MS) == 0
    assert names(s3) == []


@pytest.mark.parametrize("size", [5, 18 << 20])
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_digest_is_kept_beside_the_bytes(request: pytest.FixtureRequest, tmp_path: Path, place: str, size: int) -> None:
    url = str(tmp_path / "artifacts") if place == "folder" else request.getfixturevalue("s3_url")
    store = open_artifacts(url, default=tmp_path)
    data = b"x" * size
    digest = blake3(data).hexdigest()
    upload = store.begin("0/f", size_bytes=size, digest=digest)
    upload.write(data)
    assert upload.commit(digest) == info(store, "0/f")
    assert info(store, "0/f").digest == digest


def test_digest_of_a_file_that_was_changed_behind_our_back_is_forgotten(tmp_path: Path) -> None:
    store = open_artifacts(str(tmp_path / "artifacts"), default=tmp_path)
    put(store, "0/f", b"before")
    before = info(store, "0/f")
    (tmp_path / "artifacts" / "0" / "f").write_bytes(b"after")
    assert info(store, "0/f").digest is None
    assert info(store, "0/f").etag != before.etag


def test_folder_cleans_only_what_is_old(tmp_path: Path) -> None:
    store = open_artifacts(str(tmp_path / "artifacts"), default=tmp_path)
    upload = store.begin("0/f")
    upload.write(b"x")
    assert store.clean(before_ms=int(time.time() * 1000) - 3_600_000) == 0
    upload.commit(blake3(b"x").hexdigest())
    assert get(store, "0/f") == b"x"


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_folder_of_very_many_files_pages(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "artifacts" / "0"
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:06d}").touch()
    store = open_artifacts(str(tmp_path / "artifacts"), default=tmp_path)
    found: list[str] = []
    token = ""
    while True:
        page = store.list("0", limit=10_000 if count > 10_000 else 700, token=token)
        found += [item.path for item in page.files]
        token = page.next_token
        if not token:
            break
    assert found == [f"0/{number:06d}" for number in range(count)]
