from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.errors import InvalidInput, NotFound, StorageFull
from lockgate.server.artifacts import ArtifactFolder


def test_file_is_replaced_only_when_all_of_it_is_there(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    folder.write("a/f", [b"be", b"fore"])

    def breaks_off() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        folder.write("a/f", breaks_off())
    with folder.open("a/f") as file:
        assert file.read() == b"before"
    assert [item.path for item in folder.list("a")] == ["a/f"]


def test_half_written_file_is_not_listed(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    with folder.replacing("a/f") as file:
        file.write(b"x")
        assert folder.list("a") == []


def test_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)

    def full() -> Iterator[bytes]:
        yield b"x"
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageFull):
        folder.write("a/f", full())
    assert list((tmp_path / "a").iterdir()) == []


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "none")
    assert folder.list() == []
    with pytest.raises(NotFound):
        folder.open("f")
    with pytest.raises(InvalidInput):
        folder.write("", [b"x"])
