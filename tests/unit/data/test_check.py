from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lockgate.clock import FakeClock
from lockgate.data.accepted import accepted_path, find_accepted
from lockgate.data.check import DataReport, accept, check_data, refusal
from lockgate.documents import parse_document
from lockgate.errors import DataDamaged, InvalidInput, NotFound
from lockgate.project import Folder, decode_project
from lockgate.store.store import Store

PROJECT = """
model: m
task: regression
data:
  people: {path: people.csv, contract: people.yaml}
  notes: {path: notes.txt}
"""
CONTRACT = """
columns:
  age: {type: integer, nullable: false, min: 0, max: 120}
  plan: {type: string, categories: [a, b]}
drift: {false_alarm_rate: 0.001, min_effect: 0.1}
"""


def people(seed: int, low: int = 20, rows: int = 1000) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame({"age": rng.integers(low, low + 50, rows), "plan": rng.choice(["a", "b"], rows)})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "people.yaml").write_text(CONTRACT)
    (tmp_path / "notes.txt").write_text("free text has no contract")
    people(0).write_csv(tmp_path / "people.csv")
    return Folder(tmp_path, decode_project(parse_document(tmp_path / "lockgate.yaml", PROJECT)))


@pytest.fixture
def check(folder: Folder) -> Callable[..., list[DataReport]]:
    store = Store(folder.state / "store")
    return lambda **options: check_data(folder, store, clock=FakeClock(), **options)


def test_every_data_file_is_reported_with_its_content(check: Callable[..., list[DataReport]]) -> None:
    reports = check()

    assert [(r.name, r.passed, r.rows) for r in reports] == [("people", True, 1000), ("notes", True, None)]
    assert all(len(r.content.digest) == 64 for r in reports)
    assert refusal(reports) is None
    assert [r.name for r in check(names=["people"])] == ["people"]


def test_a_broken_file_stops_with_expectation_column_count_and_rows(
    folder: Folder, check: Callable[..., list[DataReport]]
) -> None:
    people(0).with_columns(age=pl.when(pl.int_range(pl.len()) == 7).then(900).otherwise("age")).write_csv(
        folder.root / "people.csv"
    )

    error = refusal(check())

    assert error is not None
    assert error.exit_code == 3
    assert "people.csv breaks its contract people.yaml" in str(error)
    assert "column 'age' is above 120 in 1 of 1000 rows (0.1 %) (row 8: 900)" in str(error)


def test_an_unchanged_file_is_not_read_again(folder: Folder, check: Callable[..., list[DataReport]]) -> None:
    first = check()
    answers = list((folder.state / "store" / "actions").glob("??/*"))
    for path in answers:
        path.write_bytes(path.read_bytes().replace(b'"rows":1000', b'"rows":4321'))

    assert [report.rows for report in check()] == [4321, None]
    assert first[0].rows == 1000

    (folder.root / "people.yaml").write_text(CONTRACT.replace("120", "121"))
    assert check()[0].rows == 1000


def test_drift_is_measured_against_the_accepted_version(folder: Folder, check: Callable[..., list[DataReport]]) -> None:
    (first, _) = check()
    accept(folder, first)
    people(1).write_csv(folder.root / "people.csv")
    assert check()[0].passed
    assert {drift.column for drift in check()[0].drift} == {"age", "plan"}

    people(2, low=35).write_csv(folder.root / "people.csv")
    drifted = check()[0]
    assert [(f.expectation, f.column) for f in drifted.failures] == [("drift", "age")]
    assert "PSI" in drifted.failures[0].message

    accept(folder, drifted)
    assert check()[0].passed


def test_accepting_keeps_content_and_profile_together(folder: Folder, check: Callable[..., list[DataReport]]) -> None:
    report = check()[0]
    assert find_accepted(folder.state, "people") is None

    accept(folder, report)

    found = find_accepted(folder.state, "people")
    assert found is not None
    assert (found.content, found.profile.rows) == (report.content, 1000)
    accepted_path(folder.state, "people").write_text("{")
    with pytest.raises(DataDamaged, match="accepted"):
        find_accepted(folder.state, "people")


def test_a_file_that_changed_since_the_check_is_not_accepted(
    folder: Folder, check: Callable[..., list[DataReport]]
) -> None:
    report = check()[0]
    people(9).write_csv(folder.root / "people.csv")

    with pytest.raises(InvalidInput, match="changed since"):
        accept(folder, report)


def test_missing_files_contracts_and_names_are_said(folder: Folder, check: Callable[..., list[DataReport]]) -> None:
    with pytest.raises(InvalidInput, match="no data 'peple'; there is: people, notes"):
        check(names=["peple"])
    (folder.root / "people.yaml").unlink()
    with pytest.raises(NotFound, match=r"no contract .*people\.yaml"):
        check()
    (folder.root / "people.csv").unlink()
    with pytest.raises(NotFound, match=r"no data file .*people\.csv"):
        check()
