from pathlib import Path

import pytest

from lockgate.clock import FakeClock
from lockgate.errors import DataDamaged, InvalidInput, LockgateError
from lockgate.exchange.files import OutsideFiles, Sizes, copy_files, count, open_files
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
