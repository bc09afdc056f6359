"""120 expectations of a data contract on 1,000,000 rows of Parquet, reading included. The bar: 0.5 s on two cores.

    .venv/bin/python benchmarks/checks.py [--rows 1000000] [--repeat 5]

Beside it, in the same run: Polars only reading the same columns and summing them, which is the floor. The peers as
measured on this kind of machine: pandera-polars 1.48 s, DuckDB 3.1 s, great_expectations 11.3 s.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from best import best_s

from lockgate.data.contract import Column, Contract, Rows
from lockgate.data.expectations import check_table


def table(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    numbers = {f"x{i}": rng.normal(size=rows) for i in range(14)}
    counts = {f"n{i}": rng.integers(0, 1000, rows) for i in range(8)}
    words = {f"k{i}": rng.choice(list("abcdefgh"), rows) for i in range(7)}
    return pl.DataFrame({"id": np.arange(rows)} | numbers | counts | words)


def contract(frame: pl.DataFrame) -> Contract:
    columns = {}
    for name in frame.columns:
        if name == "id":
            columns[name] = Column(type="integer", nullable=False, unique=True, min=0)
        elif name.startswith("k"):
            columns[name] = Column(type="string", nullable=False, max_missing=0, categories=list("abcdefgh"))
        else:
            type_ = "number" if name.startswith("x") else "integer"
            columns[name] = Column(type=type_, nullable=False, min=-100, max=2000)
    return Contract(columns=columns, rows=Rows(min=1000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        frame = table(options.rows)
        frame.write_parquet(path)
        asked = contract(frame)
        del frame

        def read_and_sum() -> pl.DataFrame:
            lazy = pl.scan_parquet(path)
            return lazy.select(pl.selectors.numeric().sum(), pl.selectors.string().null_count()).collect(
                engine="streaming"
            )

        checked = check_table(path, asked)
        assert not checked.failures, checked.failures
        ours, base = best_s(lambda: check_table(path, asked), options.repeat), best_s(read_and_sum, options.repeat)
    print(f"rows {checked.rows:,}, expectations {checked.expectations}")
    print(f"lockgate check      {ours:.3f} s   ({ours / base:.2f} x reading and summing; bar 0.5 s)")
    print(f"read and sum        {base:.3f} s")


if __name__ == "__main__":
    main()
