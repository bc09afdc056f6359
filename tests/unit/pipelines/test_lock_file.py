import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.documents import parse_document
from lockgate.entities import Content
from lockgate.errors import InvalidInput
from lockgate.pipelines.lock_file import Lock, _value, format_lock, read_lock, write_lock
from lockgate.pipelines.record import Inputs, StageRecord

FILE = Content(kind="file", digest="a" * 64, size_bytes=5)
TREE = Content(kind="tree", digest="b" * 64, size_bytes=7, files=2)


def record(**changes: Any) -> StageRecord:
    inputs = {
        "commands": ("python train.py",),
        "wdir": ".",
        "deps": {"in.csv": FILE},
        "params": {"lr": 1e-05, "name": "yes", "sizes": [1, 2.0, "x: y"]},
        "env": {"A": "1"},
        "outs": ("model", "run.sh"),
    }
    return StageRecord(
        inputs=Inputs(**{**inputs, **changes}), outs={"model": TREE, "run.sh": FILE}, executable=("run.sh",)
    )


def test_a_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    lock = Lock({"train": record(), "other": record(commands=("a", "b # c"), wdir="sub")}, {"customers": FILE})
    write_lock(tmp_path, lock)
    assert read_lock(tmp_path) == lock


def test_no_lock_is_an_empty_lock(tmp_path: Path) -> None:
    assert read_lock(tmp_path) == Lock({}, {})


def test_the_file_is_sorted_and_one_fact_a_line() -> None:
    assert (
        format_lock(Lock({"b": record(params={}, env={}), "a": record(params={"x": 1}, env={})}, {}))
        == f"""\
# Written by `lockgate run`; commit it. It pins what every stage read and wrote.
lockgate: 1
stages:
  a:
    cmd: python train.py
    params:
      x: 1
    deps:
      in.csv: {{file: {"a" * 64}, size: 5}}
    outs:
      model: {{tree: {"b" * 64}, size: 7, files: 2}}
      run.sh: {{file: {"a" * 64}, size: 5, executable: true}}
  b:
    cmd: python train.py
    deps:
      in.csv: {{file: {"a" * 64}, size: 5}}
    outs:
      model: {{tree: {"b" * 64}, size: 7, files: 2}}
      run.sh: {{file: {"a" * 64}, size: 5, executable: true}}
"""
    )


def test_an_unchanged_lock_is_not_written_again(tmp_path: Path) -> None:
    write_lock(tmp_path, Lock({"train": record()}, {}))
    before = (tmp_path / "lockgate.lock").stat()
    write_lock(tmp_path, Lock({"train": record()}, {}))
    assert (tmp_path / "lockgate.lock").stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lockgate: 1\n<<<<<<< HEAD\nstages: {}\n", "lockgate.lock:[23]: not valid YAML"),
        ("lockgate: 1\nstages:\n  a:\n    cmd: c\n    outs:\n      x: {file: 1}\n", "lockgate.lock:6"),
        ("lockgate: 2\n", "format 2"),
    ],
)
def test_a_broken_lock_names_the_line_and_the_way_out(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "lockgate.lock").write_text(text)
    with pytest.raises(InvalidInput, match=message) as caught:
        read_lock(tmp_path)
    assert caught.value.hint


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",)))
    | st.sampled_from(["1e-05", "0x1", "1:30", "012", "~", "=", "<<", "- a", "a: b", "a #b", "NO", "2024-01-01", ""])
)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=8))
def test_every_value_reads_back_as_the_very_same(value: Any) -> None:
    read = parse_document(Path("x"), f"key: {_value(value)}\n").value["key"]
    assert read == value
    assert repr(read) == repr(value)


def test_what_is_not_a_number_stays_so() -> None:
    assert math.isnan(parse_document(Path("x"), f"key: {_value(math.nan)}\n").value["key"])
