"""Tables on disk -> Polars: the suffix says the format, and every failure is an InvalidInput that names the file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import polars as pl

from lockgate.errors import InvalidInput, NotFound

T = TypeVar("T")

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".arrow", ".feather", ".ipc")

# A file up to this size is worked on whole, twice as fast as in a stream; a larger one never lies in memory as a whole.
_IN_MEMORY_BYTES = 256 << 20

# Types of a CSV column are guessed from this many rows; where a later row does not fit, from all of them.
_GUESS_ROWS = 10_000


def read_frame(path: Path, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """All rows, or those columns of them. Raises NotFound, or InvalidInput for a file that is no readable table."""
    return collect(path, lambda lazy: lazy if columns is None else lazy.select(columns))


def scan_frame(path: Path, *, guess_rows: int | None = _GUESS_ROWS) -> pl.LazyFrame:
    """The table, not read yet but for its schema. `guess_rows` (None: all) tells the types of a CSV file."""
    if not path.is_file():
        raise NotFound(f"there is no data file {path}.")
    suffix = file_suffix(path)
    if path.stat().st_size == 0:
        raise InvalidInput(f"{path} is empty.")
    return _guarded(path, lambda: _scan(path, suffix, guess_rows))


def collect(
    path: Path, query: Callable[[pl.LazyFrame], pl.LazyFrame], *, schema: pl.Schema | None = None
) -> pl.DataFrame:
    """The result of a query on the file, in one pass and, for a large file, without holding all of it.

    `schema` gives the types of a CSV file where they are known; `query` is asked a second time where they are guessed
    and a later row does not fit.
    """
    try:
        lazy = scan_frame(path) if schema is None or not is_csv(path) else pl.scan_csv(path, glob=False, schema=schema)
        return _guarded(path, lambda: query(lazy).collect(engine=_engine(path)))
    except InvalidInput:
        if schema is not None or not is_csv(path):
            raise
        # A row far down may not fit the type guessed from the first ones: 1, 2, 3, ..., n/a.
        return _guarded(path, lambda: query(scan_frame(path, guess_rows=None)).collect(engine=_engine(path)))


def _engine(path: Path) -> Literal["in-memory", "streaming"]:
    return "in-memory" if path.stat().st_size <= _IN_MEMORY_BYTES else "streaming"


def iter_frames(path: Path, rows: int = 65_536, *, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """The table in pieces of at most `rows`, in order and bounded memory; every piece has the same types."""
    lazy = scan_frame(path, guess_rows=None if is_csv(path) else _GUESS_ROWS)
    if columns is not None:
        lazy = lazy.select(columns)
    batches = _guarded(path, lambda: iter(lazy.collect_batches(chunk_size=rows, maintain_order=True)))
    while (batch := _guarded(path, lambda: next(batches, None))) is not None:
        for piece in batch.iter_slices(rows):
            if piece.height:
                yield piece


def is_csv(path: Path) -> bool:
    return file_suffix(path).startswith(".csv")


def file_suffix(path: Path) -> str:
    """The one of SUFFIXES that the name ends with. Raises InvalidInput for any other."""
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise InvalidInput(f"{path} is of no known format; a data file ends with one of: {', '.join(SUFFIXES)}.")


def _scan(path: Path, suffix: str, guess_rows: int | None) -> pl.LazyFrame:
    lazy = _lazy(path, suffix, guess_rows)
    names = lazy.collect_schema().names()
    if not names:
        raise InvalidInput(f"{path} has no columns.")
    if is_csv(path) and (twice := _given_twice(names)):
        raise InvalidInput(f"{path} has two columns named {twice!r}.")
    return lazy


def _lazy(path: Path, suffix: str, guess_rows: int | None) -> pl.LazyFrame:
    if suffix.startswith(".csv"):
        return pl.scan_csv(path, glob=False, infer_schema_length=guess_rows)
    if suffix == ".parquet":
        return pl.scan_parquet(path, glob=False)
    return pl.scan_ipc(path, glob=False)


def _given_twice(names: list[str]) -> str | None:
    """Polars renames the second `a` of a CSV header to `a_duplicated_0`."""
    known = set(names)
    for name in names:
        first, marker, count = name.rpartition("_duplicated_")
        if marker and count.isdigit() and first in known:
            return first
    return None


def _guarded(path: Path, read: Callable[[], T]) -> T:
    """Polars' and the system's ways to refuse a file, as InvalidInput with the first line of the reason."""
    try:
        return read()
    except pl.exceptions.ColumnNotFoundError as error:
        raise InvalidInput(f"{path}: {_first_line(error)}.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(f"{path} cannot be read as {file_suffix(path)[1:]}: {_first_line(error)}.") from error


def _first_line(error: Any) -> str:  # any exception
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")
