import os
from pathlib import Path

import pytest

from lockgate.errors import Conflict, InvalidInput, NotFound, Unavailable
from lockgate.server.artifacts.folder import ArtifactFolder


def put(folder: ArtifactFolder, path: str, data: bytes = b"x") -> None:
    upload = folder.begin(path)
    upload.write(data)
    upload.commit("a" * 64)


def test_link_that_leads_out_is_neither_listed_nor_followed(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    put(folder, "0/real")
    (tmp_path / "secret").write_text("secret")
    (folder.root / "0" / "out").symlink_to(tmp_path)
    (folder.root / "0" / "loop").symlink_to(folder.root / "0" / "loop")
    (folder.root / "0" / "inside").symlink_to(folder.root / "0" / "real")
    assert [item.path for item in folder.list("0", limit=10).files] == ["0/inside", "0/real"]
    for ask in (folder.open, folder.begin, folder.delete):
        with pytest.raises(InvalidInput, match="leaves its folder"):
            ask("0/out/secret")  # type: ignore[operator]  # each takes a path
    with pytest.raises(NotFound):
        folder.open("0/loop")
    assert (tmp_path / "secret").read_text() == "secret"


def test_only_names_that_can_be_asked_for_are_listed(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    put(folder, "0/f")
    for name in (b"\xff", b"back\\slash", b"new\nline", b"%2e%2e", b"a%5cb", "\ufffe".encode(), b"a:b", "é %".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path / "0") + b"/" + name)).touch()
    (tmp_path / "0" / "odd\\link").symlink_to("f")
    (tmp_path / "C:").touch()
    assert [item.path for item in folder.list("0", limit=10).files] == ["0/a:b", "0/f", "0/é %"]
    assert [item.path for item in folder.list(limit=10).files] == ["0"]
    for path in ("0/a:b", "0/f", "0/é %"):
        folder.open(path).content.close()


def test_what_was_deleted_by_a_killed_server_is_cleaned_up(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    put(folder, "0/f")
    (tmp_path / "0").rename(folder.partial / "deleted-1")  # killed right after it was moved out of sight
    assert folder.list(limit=10).files == ()
    assert folder.clean(before_ms=2**53) == 1
    assert list(folder.partial.iterdir()) == []


def test_upload_into_a_folder_that_becomes_a_file_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    upload = folder.begin("0/a/f")
    put(folder, "0/a")
    upload.write(b"x")
    with pytest.raises((InvalidInput, Conflict)):
        upload.commit("a" * 64)
    upload.abort()
    assert list(folder.partial.iterdir()) == []
    assert (tmp_path / "0" / "a").read_bytes() == b"x"


@pytest.mark.parametrize("token", ["?", "abc", "\0", "\u00e9", "=="])
def test_page_token_that_is_none_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(InvalidInput, match="page token"):
        ArtifactFolder(tmp_path).list(limit=1, token=token)


def test_deleted_link_is_gone_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    put(folder, "0/real/f")
    (tmp_path / "outside").mkdir()
    for name, target in (("inside", folder.root / "0" / "real"), ("out", tmp_path / "outside"), ("nowhere", "none")):
        (folder.root / "0" / name).symlink_to(target)
        assert folder.delete(f"0/{name}")
        assert not (folder.root / "0" / name).is_symlink()
    assert (folder.root / "0" / "real" / "f").read_bytes() == b"x"
    assert (tmp_path / "outside").is_dir()
    assert list(folder.partial.iterdir()) == []


def test_folder_that_cannot_be_used_is_unavailable_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "artifacts").symlink_to(tmp_path / "artifacts")
    with pytest.raises(Unavailable, match="failed at '0/f': Too many levels of symbolic links"):
        ArtifactFolder(tmp_path / "artifacts").begin("0/f")
