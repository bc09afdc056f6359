"""What the packages behind fsspec say when their store fails; each has errors of its own."""

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
        (HttpError("Invalid Credentials, 401"), Unavailable, "HttpError: Invalid Credentials, 401"),
        (NotImplementedError(), NotImplementedHere, "cannot do this to '0/f'"),
    ],
)
def test_error_of_a_package_is_one_that_clients_can_act_on(
    error: Exception, named: type[LockgateError], says: str
) -> None:
    store = FilesystemArtifacts(Failing(error), "/x")
    for ask in (lambda: store.begin("0/f"), lambda: store.open("0/f"), lambda: store.delete("0/f")):
        with pytest.raises(named, match=says):
            ask()
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
    with pytest.raises(Unavailable, match="was replaced while it was read"):
        FilesystemArtifacts(filesystem, "/replaced").open("0/f").content.read(1)
