from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lockgate.data.contract import Contract, contract_text, load_contract
from lockgate.data.expectations import check_table
from lockgate.data.failure import Failure
from lockgate.data.infer import infer_contract, notes
from lockgate.errors import InvalidInput, NotFound


def contract(tmp_path: Path, text: str) -> Contract:
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    return load_contract(path)


def refused(tmp_path: Path, frame: pl.DataFrame, text: str, name: str = "t.parquet") -> list[Failure]:
    frame.write_parquet(tmp_path / name) if name.endswith("parquet") else frame.write_csv(tmp_path / name)
    return list(check_table(tmp_path / name, contract(tmp_path, text)).failures)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("columns:\n  a: {typ: integer}\n", 2, "did you mean 'type'"),
        ("columns:\n  a: {type: int}\n", 2, "invalid enum value 'int'"),
        ("columns:\n  a: {}\n  b: {min: 3, max: 1}\n", 3, "max .1. is below min .3."),
        ("columns:\n  a: {type: string, min: 1}\n", 2, "a column of type string has no min"),
        ("columns:\n  a: {type: string, categories: [yes, no]}\n", 2, "put it in quotes"),
        ("columns:\n  a: {pattern: '('}\n", 2, "not a regular expression"),
        ("columns: {a: {}}\nunique: [[a, b]]\n", 2, "names 'b'"),
        ("rows: {min: 2, max: 1}\ncolumns: {a: {}}\n", 1, "below min"),
        ("rows: {min: 2}\n", 1, "at least the key columns"),
        ("columns:\n  a: {type: integer\n", 2, "not valid YAML"),
    ],
)
def test_a_wrong_contract_names_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=rf"contract\.yaml:{line}: .*") as caught:
        contract(tmp_path, text)

    import re

    assert re.search(message, str(caught.value))


def test_a_missing_contract_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_contract(tmp_path / "none.yaml")


def test_broken_expectations_name_column_count_share_and_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"age": [30, -1, 40, 200, None, 999], "plan": ["a", "b", "x", "a", "y", None]})

    found = refused(
        tmp_path,
        frame,
        "columns:\n  age: {type: integer, nullable: false, min: 0, max: 120}\n"
        "  plan: {type: string, categories: [a, b], max_missing: 0.1}\n",
    )

    assert {(f.column, f.expectation): (f.rows, [(e.row, e.value) for e in f.examples]) for f in found} == {
        ("age", "nullable"): (1, [(5, None)]),
        ("age", "min"): (1, [(2, -1)]),
        ("age", "max"): (2, [(4, 200), (6, 999)]),
        ("plan", "categories"): (2, [(3, "x"), (5, "y")]),
        ("plan", "max_missing"): (1, [(6, None)]),
    }
    assert str(found[2]) == "column 'age' is above 120 in 2 of 6 rows (33.33 %) (row 4: 200, row 6: 999)"


def test_at_most_five_rows_are_shown(tmp_path: Path) -> None:
    (found,) = refused(tmp_path, pl.DataFrame({"a": range(100)}), "columns: {a: {max: 9}}")

    assert (found.rows, [e.row for e in found.examples]) == (90, [11, 12, 13, 14, 15])
    assert str(found).endswith(", ...)")


def test_a_word_far_down_a_csv_column_of_numbers_is_found(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 20_000 + "n/a,3\n")

    found = check_table(
        tmp_path / "t.csv", contract(tmp_path, "columns: {a: {type: integer, min: 0}, b: {type: integer}}")
    )

    assert [(f.expectation, f.column, f.examples[0].row, f.examples[0].value) for f in found.failures] == [
        ("type", "a", 20_001, "n/a")
    ]
    assert found.rows == 20_001


def test_types_are_families(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "whole": [1.0, None, 3.0],
            "half": [1.0, 2.5, None],
            "flag": [0, 1, 2],
            "when": ["2024-01-31", "2024-02-01T10:00:00", "31.1.2024"],
            "text": ["1", "2", "3"],
        }
    )

    found = refused(
        tmp_path,
        frame,
        "columns: {whole: {type: integer}, half: {type: integer}, flag: {type: boolean}, when: {type: datetime}, "
        "text: {type: number, max: 2}}",
    )

    assert [(f.column, f.expectation, f.examples[0].row) for f in found] == [
        ("half", "type", 2),
        ("flag", "type", 3),
        ("when", "type", 3),
        ("text", "max", 3),
    ]


def test_numbers_in_a_csv_are_good_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"zip": [10115, 20095]})

    assert refused(tmp_path, frame, "columns: {zip: {type: string}}", "t.csv") == []
    assert [f.expectation for f in refused(tmp_path, frame, "columns: {zip: {type: string}}")] == ["type"]


def test_missing_and_extra_columns_suggest_each_other(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1], "adress": ["x"]})

    found = refused(tmp_path, frame, "columns: {id: {}, address: {}, note: {required: false}}")

    assert [(f.expectation, f.column) for f in found] == [("required", "address"), ("extra_columns", "adress")]
    assert "did 'adress' take its place?" in found[0].message
    assert refused(tmp_path, frame, "columns: {id: {}}\nextra_columns: allow") == []


def test_a_contract_for_another_schema_is_said_once(tmp_path: Path) -> None:
    (found,) = refused(tmp_path, pl.DataFrame({"a": [1], "b": [2]}), "columns: {x: {nullable: false}, y: {}}")

    assert "contract for another schema" in found.message


def test_duplicates_of_a_key_and_of_a_combination_are_found(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 2, 2, None, None], "a": [1, 1, 2, 2, 2], "b": ["x", "y", "x", "z", "z"]})

    found = refused(tmp_path, frame, "columns: {id: {unique: true}, a: {}, b: {}}\nunique: [[a, b]]")

    assert [(f.column, [e.row for e in f.examples]) for f in found] == [("id", [2, 3]), ("a + b", [4, 5])]
    assert found[1].examples[0].value == "2 + z"


def test_nan_is_missing(tmp_path: Path) -> None:
    (found,) = refused(tmp_path, pl.DataFrame({"x": [1.0, float("nan")]}), "columns: {x: {nullable: false, max: 5}}")

    assert (found.expectation, found.rows) == ("nullable", 1)


def test_row_counts_and_an_empty_table(tmp_path: Path) -> None:
    found = refused(tmp_path, pl.DataFrame({"x": [1]}).clear(), "columns: {x: {nullable: false, unique: true, min: 1}}")

    assert [f.expectation for f in found] == ["rows"]
    assert refused(tmp_path, pl.DataFrame({"x": [1, 2]}), "rows: {max: 1}\ncolumns: {x: {}}")[0].message == (
        "2 rows, at most 1 are expected"
    )


def test_patterns_match_anywhere_and_unsupported_ones_are_named(tmp_path: Path) -> None:
    frame = pl.DataFrame({"code": ["AB-1", "A-2", None]})

    (found,) = refused(tmp_path, frame, "columns: {code: {pattern: '^[A-Z]{2}-'}}")
    assert [e.value for e in found.examples] == ["A-2"]
    with pytest.raises(InvalidInput, match="pattern of column 'code' cannot be used"):
        refused(tmp_path, frame, "columns: {code: {pattern: '(?=A)'}}")


def people(rows: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "customer_id": rng.permutation(rows) + seed * rows,
            "age": rng.integers(18, 90, rows),
            "plan": rng.choice(["yes", "no", "1"], rows),
            "income": np.where(rng.random(rows) < 0.05, np.nan, rng.lognormal(8, 1, rows)),
            "free": [f"text {i}" for i in range(rows)],
            "churned": rng.integers(0, 2, rows),
        }
    )


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_an_inferred_contract_reads_back_and_holds_for_the_next_version(tmp_path: Path, name: str) -> None:
    found = infer_contract(people(2000, 0), label="churned")
    text = contract_text(found, source="people", notes=notes(people(2000, 0)))

    assert contract(tmp_path, text) == found
    assert refused(tmp_path, people(2000, 1).with_columns(pl.col("income").fill_nan(None)), text, name) == []
    assert found.columns["customer_id"].unique
    assert found.columns["customer_id"].max is None
    assert found.columns["plan"].categories == ["1", "no", "yes"]
    assert found.columns["free"].categories is None
    assert found.columns["churned"].categories == [0, 1] or found.columns["churned"].max == 1
    assert not found.columns["churned"].nullable
    assert found.columns["income"].max_missing is not None
    assert found.rows.min == 1000


def test_an_inferred_contract_stops_a_broken_version(tmp_path: Path) -> None:
    text = contract_text(infer_contract(people(2000, 0)), source="people", notes={})
    broken = people(2000, 1).with_columns(age=pl.col("age") * 10, plan=pl.lit("maybe"), income=None)

    found = {(f.column, f.expectation) for f in refused(tmp_path, broken, text)}

    assert found == {("age", "max"), ("plan", "categories"), ("income", "max_missing")}


def test_nothing_is_inferred_from_nothing() -> None:
    with pytest.raises(InvalidInput, match="without rows"):
        infer_contract(people(0, 0))
    with pytest.raises(InvalidInput, match="no column 'label'"):
        infer_contract(people(10, 0), label="label")
