import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lockgate.data.frames import iter_frames, read_frame, scan_frame
from lockgate.errors import InvalidInput, NotFound

FRAME = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})

WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "t.csv": lambda frame, path: frame.write_csv(path),
    "t.csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_csv().encode())),
    "t.parquet": lambda frame, path: frame.write_parquet(path),
    "t.arrow": lambda frame, path: frame.write_ipc(path),
    "T.FEATHER": lambda frame, path: frame.write_ipc(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_reads_back_the_same_rows(tmp_path: Path, name: str) -> None:
    WRITERS[name](FRAME, tmp_path / name)

    assert read_frame(tmp_path / name).equals(FRAME)
    assert read_frame(tmp_path / name, columns=["b"]).columns == ["b"]
    assert pl.concat(iter_frames(tmp_path / name, rows=2)).equals(FRAME)


def test_pieces_are_in_order_and_never_larger_than_asked(tmp_path: Path) -> None:
    frame = pl.DataFrame({"i": range(10_000)})
    frame.write_parquet(tmp_path / "t.parquet")

    pieces = list(iter_frames(tmp_path / "t.parquet", rows=999))

    assert max(piece.height for piece in pieces) <= 999
    assert pl.concat(pieces).equals(frame)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.arrow"])
def test_empty_and_damaged_files_are_named_with_the_reason(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(InvalidInput, match=rf"{name} is empty"):
        read_frame(path)

    path.write_bytes(b"\x1f\x8b\xff\xfe\x00\x01nonsense")
    with pytest.raises(InvalidInput, match=rf"{name} cannot be read as"):
        read_frame(path)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"x")

    with pytest.raises(InvalidInput, match=r"\.csv, \.csv\.gz, \.parquet"):
        read_frame(tmp_path / "t.xlsx")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"t\.csv"):
        scan_frame(tmp_path / "t.csv")


def test_a_late_row_of_another_type_makes_the_whole_csv_column_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n" + "1\n" * 20_000 + "n/a\n")

    frame = read_frame(tmp_path / "t.csv")
    pieces = list(iter_frames(tmp_path / "t.csv"))

    assert frame.schema == {"a": pl.String}
    assert frame["a"][-1] == "n/a"
    assert pieces[-1].schema == {"a": pl.String}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,a\n1,2,3\n")

    with pytest.raises(InvalidInput, match="two columns named 'a'"):
        read_frame(tmp_path / "t.csv")


def test_an_unknown_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")

    with pytest.raises(InvalidInput, match='"zz"'):
        read_frame(tmp_path / "t.csv", columns=["zz"])


def test_rows_with_too_many_fields_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1,2,3\n")

    with pytest.raises(InvalidInput, match="more fields"):
        read_frame(tmp_path / "t.csv")


def test_a_star_in_a_name_is_no_pattern(tmp_path: Path) -> None:
    FRAME.write_csv(tmp_path / "a1.csv")
    FRAME.head(1).write_csv(tmp_path / "a*.csv")

    assert read_frame(tmp_path / "a*.csv").height == 1
