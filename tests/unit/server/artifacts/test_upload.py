import base64
import hashlib
from pathlib import Path

import pytest
from blake3 import blake3

from lockgate.errors import InvalidInput, PayloadTooLarge
from lockgate.server.artifacts.folder import ArtifactFolder
from lockgate.server.artifacts.upload import CheckedUpload, announced

DATA = b"content"


def encoded(algorithm: str, data: bytes = DATA) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-lockgate-digest": blake3(DATA).hexdigest()},
        {"content-md5": encoded("md5")},
        {"digest": f"SHA-256={encoded('sha256')},md5={encoded('md5')}"},
        {"content-digest": f"sha-512=:{encoded('sha512')}:"},
        {"repr-digest": f"sha-256=:{encoded('sha256')}:, unixsum=:AA==:"},
    ],
)
def test_every_way_to_announce_a_checksum_is_checked(headers: dict[str, str], tmp_path: Path) -> None:
    store = ArtifactFolder(tmp_path)
    for data, fits in ((DATA, True), (b"contend", False)):
        upload = CheckedUpload(store, "f", checksums=announced(headers))
        upload.write(data[:3])
        upload.write(data[3:])
        if fits:
            assert upload.commit().digest == blake3(DATA).hexdigest()
            continue
        with pytest.raises(InvalidInput, match="nothing was stored"):
            upload.commit()
        upload.abort()
    assert (tmp_path / "f").read_bytes() == DATA


def test_checksum_that_we_do_not_know_is_left_unchecked() -> None:
    assert announced({"digest": "unixsum=30637"}) == ()
    assert announced({}) == ()


@pytest.mark.parametrize("headers", [{"x-lockgate-digest": "abc"}, {"content-md5": "?"}, {"digest": "sha-256=?"}])
def test_checksum_that_cannot_be_read_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        announced(headers)


def test_size_above_the_limit_is_refused_as_soon_as_it_is_known(tmp_path: Path) -> None:
    store = ArtifactFolder(tmp_path / "artifacts")
    with pytest.raises(PayloadTooLarge, match="max_artifact_mb"):
        CheckedUpload(store, "f", size_bytes=11, limit_bytes=10)
    assert not store.root.exists()
    upload = CheckedUpload(store, "f", limit_bytes=10)
    upload.write(b"x" * 10)
    with pytest.raises(PayloadTooLarge):
        upload.write(b"x")
    upload.abort()
    assert list(store.partial.iterdir()) == []


def test_upload_that_is_shorter_than_announced_is_not_stored(tmp_path: Path) -> None:
    upload = CheckedUpload(ArtifactFolder(tmp_path), "f", size_bytes=3)
    upload.write(b"xx")
    with pytest.raises(InvalidInput, match="announced with 3 bytes"):
        upload.commit()
    upload.abort()
    assert not (tmp_path / "f").exists()
