import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lockgate.clock import FakeClock
from lockgate.errors import DataDamaged, InvalidInput, LockgateError, StorageFull
from lockgate.exchange.files import OutsideFiles, Sizes, copy_files, count, open_files
from lockgate.exchange.scratch import remove_leftovers, scratch_folder
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport


@pytest.mark.parametrize("written", ["path", "file"])
def test_files_go_from_a_folder_through_the_proxy_and_out_again(tmp_path: Path, written: str) -> None:
    folder = tmp_path / "with space ü"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a b.txt").write_text("hello")
    (folder / "empty").touch()
    transport = LocalTransport(open_context(tmp_path / "state", user="ann", clock=FakeClock()))
    proxied = open_files(transport, "mlflow-artifacts:/1/run/artifacts")
    source = open_files(transport, str(folder) if written == "path" else folder.as_uri())
    assert copy_files(source, proxied) == count(proxied) == Sizes(2, 5)
    out = tmp_path / "out"
    assert copy_files(proxied, open_files(transport, str(out))) == Sizes(2, 5)
    assert (out / "deep" / "a b.txt").read_text() == "hello"
    transport.close()


@pytest.mark.parametrize(
    ("root", "folder"),
    [("mlflow-artifacts:/team%20b", "team b"), ("mlflow-artifacts://host:5000/100%/x%20y/", "100%/x%20y")],
)
def test_files_go_where_a_client_of_mlflow_looks_for_them(tmp_path: Path, root: str, folder: str) -> None:
    transport = LocalTransport(open_context(tmp_path / "state", user="ann", clock=FakeClock()))
    source = tmp_path / "source"
    for name in ("a b", "a%20b", "50%"):
        (source / name).mkdir(parents=True)
        (source / name / "f").write_text(name)
    proxied = open_files(transport, root)
    assert copy_files(open_files(transport, str(source)), proxied) == count(proxied) == Sizes(3, 11)
    kept = tmp_path / "state" / "artifacts" / folder
    assert {path.parent.name: path.read_text() for path in kept.rglob("f")} == {
        name: name for name in ("a b", "a%20b", "50%")
    }
    transport.close()


def test_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    transport = LocalTransport(open_context(tmp_path / "state", user="ann", clock=FakeClock()))
    assert count(open_files(transport, str(tmp_path / "nowhere"))) == Sizes(0, 0)
    assert count(open_files(transport, "mlflow-artifacts://host:5000/nowhere")) == Sizes(0, 0)
    transport.close()


def test_address_without_a_driver_is_named(tmp_path: Path) -> None:
    transport = LocalTransport(open_context(tmp_path / "state", user="ann", clock=FakeClock()))
    with pytest.raises(InvalidInput, match="unknown://bucket/x cannot be opened"):
        open_files(transport, "unknown://bucket/x")
    transport.close()


class OneWrong(OutsideFiles):
    """Sends the bytes of another file for one, as MLflow's server does for pct%41.txt."""

    def fetch(self, path: str, target: Path) -> None:
        super().fetch("pctA.txt" if path == "pct%41.txt" else path, target)


def test_file_that_comes_with_another_size_is_refused_by_its_name_and_the_others_come(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pct%41.txt").write_text("mine")
    (source / "pctA.txt").write_text("another's")
    (source / "empty").touch()
    refused: list[tuple[str, LockgateError]] = []
    found = copy_files(OneWrong(str(source)), OutsideFiles(str(tmp_path / "out")), lambda *item: refused.append(item))
    assert found == Sizes(3, 13)
    ((name, error),) = refused
    assert name == "file pct%41.txt" and "listed with 4 bytes, and 9 came" in str(error)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["empty", "pctA.txt"]
    with pytest.raises(DataDamaged):  # what must be whole
        copy_files(OneWrong(str(source)), OutsideFiles(str(tmp_path / "out")))


def test_link_to_a_folder_is_named_and_the_other_files_come(tmp_path: Path) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    for folder in (source, outside):
        folder.mkdir()
        (folder / "a.txt").write_text("hello")
    (source / "b").symlink_to(source)
    (source / "c").symlink_to(outside)
    (source / "d.txt").symlink_to(outside / "a.txt")
    refused: list[tuple[str, LockgateError]] = []
    found = copy_files(
        OutsideFiles(str(source)), OutsideFiles(str(tmp_path / "out")), lambda *item: refused.append(item)
    )
    assert found == Sizes(4, 10)
    assert [name for name, _ in refused] == ["file b", "file c"]
    assert all("is a link to a folder" in str(error) for _, error in refused)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "d.txt"]


def test_full_disk_of_temporary_files_is_told_from_a_source_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("weights")
    with pytest.raises(StorageFull, match="TMPDIR"):
        OutsideFiles(str(tmp_path)).fetch("model", Path("/dev/full"))


KILLED = """
import os, signal
from lockgate.exchange.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "file").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_copy_has_left_goes_and_what_a_living_one_holds_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", KILLED], env=environ, check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / "lockgate-copy-link").symlink_to(tmp_path)
    with scratch_folder() as held:
        remove_leftovers()
        assert sorted(tmp_path.iterdir()) == sorted([held, tmp_path / "lockgate-copy-link"])
    assert [path.name for path in tmp_path.iterdir()] == ["lockgate-copy-link"]
