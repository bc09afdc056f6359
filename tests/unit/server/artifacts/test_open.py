import sys
from pathlib import Path

import pytest

from lockgate.errors import InvalidInput, NotImplementedHere, Unavailable
from lockgate.server.artifacts.filesystem import FilesystemArtifacts
from lockgate.server.artifacts.folder import ArtifactFolder
from lockgate.server.artifacts.open import open_artifacts


def test_empty_setting_is_a_folder_of_the_project(tmp_path: Path) -> None:
    store = open_artifacts("", default=tmp_path / "artifacts")
    assert isinstance(store, ArtifactFolder)
    assert store.root == tmp_path / "artifacts"
    assert not store.root.exists()  # nobody asked for a file yet


def test_path_and_file_url_name_the_same_folder(tmp_path: Path) -> None:
    roots = []
    for url in (f"{tmp_path}/a b", f"file://{tmp_path}/a%20b", f"file://localhost{tmp_path}/a%20b"):
        store = open_artifacts(url, default=tmp_path / "unused")
        assert isinstance(store, ArtifactFolder)
        roots.append(store.root)
    assert set(roots) == {tmp_path / "a b"}


def test_other_address_is_left_to_fsspec(tmp_path: Path) -> None:
    assert isinstance(open_artifacts("memory://somewhere", default=tmp_path), FilesystemArtifacts)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://", "s3://BUCKET/PREFIX"),
        ("s3://bucket/prefix?endpoint=x", "AWS_ENDPOINT_URL"),
        ("file://other-machine/x", "file:///absolute/path"),
        ("nonsense://x", "names no place for files"),
        ("gcs://bucket", "needs another package"),
        ("arrow_hdfs://host/x", "the setting artifacts is"),  # or it would be a folder of that name
        ("reference://", "the setting artifacts is"),  # whose package raises what it likes
        ("gs:/bucket/x", "write gs://..., or ./gs:/bucket/x for a folder"),  # a slash was forgotten
        ("abfs:container/x", "write abfs://..."),
        ("memory:x", "write memory://..."),
    ],
)
def test_setting_that_names_no_place_is_refused_with_the_way_out(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_artifacts(url, default=tmp_path)
    assert says in str(refused.value)


def test_s3_without_its_package_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("s3fs", "aiobotocore", "botocore"):
        monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed
    with pytest.raises(InvalidInput, match=r"the setting artifacts is 's3://b/x', which needs the package s3fs") as no:
        open_artifacts("s3://b/x", default=tmp_path)
    assert no.value.hint == "pip install 'lockgate[s3]'"


def test_address_in_an_address_is_left_to_fsspec(tmp_path: Path) -> None:
    assert isinstance(open_artifacts("dir::memory://x", default=tmp_path), FilesystemArtifacts)


def test_address_that_fsspec_asks_in_vain_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"artifacts is 'ftp://.*', which cannot be reached"):
        open_artifacts("ftp://127.0.0.1:9/x", default=tmp_path)


def test_path_that_has_an_address_in_it_is_a_path(tmp_path: Path) -> None:
    store = open_artifacts(f"{tmp_path}/a://b", default=tmp_path)
    assert isinstance(store, ArtifactFolder)
    assert store.root == tmp_path / "a:" / "b"


def test_bucket_that_is_not_there_is_named_in_an_answer_that_clients_do_not_repeat(s3_url: str, tmp_path: Path) -> None:
    store = open_artifacts("s3://no-such-bucket/x", default=tmp_path)
    with pytest.raises(NotImplementedHere, match="bucket 'no-such-bucket' for artifacts does not exist") as refused:
        store.begin("0/f")
    assert refused.value.http_status == 501
    assert refused.value.hint == "make the bucket, or correct the setting artifacts"


def test_store_that_does_not_answer_is_unavailable(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="S3 cannot be reached"):
        open_artifacts(s3_url, default=tmp_path).list(limit=1)
