"""What the packages behind fsspec say when their store fails; each has errors of its own."""

import errno
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from lockgate.errors import LockgateError, NotImplementedHere, Unavailable
from lockgate.server.artifacts.filesystem import FilesystemArtifacts


class HttpError(Exception):
    """As of gcsfs, which derives from no OSError."""


class Failing(MemoryFileSystem):
    """Has one file, which every look at fails as `error` says."""

    cachable = False

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def fail(self, *_: object, **__: object) -> Any:
        raise self.error

    isdir = info = ls = find = rm = fail


@pytest.mark.parametrize(
    ("error", "named", "says"),
    [
        (HttpError("Invalid Credentials, 401"), Unavailable, "failed at '0/f': HttpError."),
        (OSError(errno.EIO, "Input/output error", "/srv/x/0/f"), Unavailable, "failed at '0/f': Input/output error."),
        (OSError("/srv/x/0/f is broken"), Unavailable, "failed at '0/f': OSError."),
        (NotImplementedError(), NotImplementedHere, "cannot do this to '0/f'"),
    ],
)
def test_error_of_a_package_is_one_that_clients_can_act_on(
    error: Exception, named: type[LockgateError], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = FilesystemArtifacts(Failing(error), "/srv/x")
    for ask in (lambda: store.begin("0/f"), lambda: store.open("0/f"), lambda: store.delete("0/f")):
        caplog.clear()
        with pytest.raises(named, match=says) as raised:
            ask()
        assert "/srv" not in str(raised.value)  # which is for those who read the log
        assert str(error) in caplog.text
    with pytest.raises(named):
        store.list("0", limit=1)


class ReplacedMeanwhile(MemoryFileSystem):
    """As gcsfs says of a file of which there is another generation by now."""

    cachable = False

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        raise FileExistsError(path)


def test_file_that_was_replaced_while_it_was_read_can_be_read_again() -> None:
    filesystem = ReplacedMeanwhile()
    filesystem.pipe_file("/replaced/0/f", b"x")
    with pytest.raises(Unavailable, match=r"^'0/f' was replaced while it was read"):
        FilesystemArtifacts(filesystem, "/replaced").open("0/f").content.read(1)


def test_only_names_that_can_be_asked_for_are_listed() -> None:
    filesystem = MemoryFileSystem()
    for name in ("f", "back\\slash", "new\nline", "%2e%2e", "a:b"):
        filesystem.pipe_file(f"/odd-names/0/{name}", b"x")
    found = FilesystemArtifacts(filesystem, "/odd-names").list("0", limit=10).files
    assert [item.path for item in found] == ["0/a:b", "0/f"]
