import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from lockgate.cli.app import App
from lockgate.cli.check import check
from lockgate.errors import LockgateError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    pl.DataFrame({"id": range(100), "age": [20 + i % 50 for i in range(100)], "y": [0, 1] * 50}).write_csv(
        tmp_path / "people.csv"
    )
    (tmp_path / "lockgate.yaml").write_text(
        "model: m\ntask: binary_classification\ndata: {people: {path: people.csv, contract: people.yaml}}\n"
    )
    return tmp_path


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(check, arguments, obj=App(start=project))


def code(result: Result) -> int:
    return result.exception.exit_code if isinstance(result.exception, LockgateError) else result.exit_code


def test_an_inferred_contract_is_written_once_and_then_enforced(project: Path) -> None:
    inferred = run(project, "--infer", "people.csv", "--label", "y", "--output", "people.yaml")
    assert inferred.exit_code == 0, inferred.output
    assert "y: {type: integer, nullable: false" in (project / "people.yaml").read_text()
    assert code(run(project, "--infer", "people.csv", "--output", "people.yaml")) == 2
    assert code(run(project, "--infer", "people.csv", "--output", "people.yaml", "--force")) == 0

    assert "passed" in run(project).output
    pl.read_csv(project / "people.csv").with_columns(age=pl.lit(-5)).write_csv(project / "people.csv")
    refused = run(project, "people")
    assert code(refused) == 3
    assert "refused" in refused.output
    assert "column 'age' is below 10 in 100 of 100 rows" in str(refused.exception)


def test_without_output_the_contract_is_printed(project: Path) -> None:
    result = run(project, "--infer", "people.csv")

    assert "id: {type: integer, nullable: false, min: 0, unique: true}" in result.output
    assert not (project / "people.yaml").exists()


def test_json_tells_every_failure(project: Path) -> None:
    (project / "people.yaml").write_text("columns: {id: {}, age: {max: 30}, y: {}}\n")

    result = run(project, "--json")

    assert code(result) == 3
    (report,) = json.loads(result.stdout)
    assert not report["passed"]
    assert report["failures"][0]["rows"] == 78
    assert len(report["failures"][0]["examples"]) == 5


def test_any_file_can_be_checked_against_any_contract(project: Path) -> None:
    (project / "c.yaml").write_text("columns: {other: {}}\n")

    refused = run(project, "people.csv", "--contract", "c.yaml")

    assert code(refused) == 3
    assert "contract for another schema" in str(refused.exception)


def test_drift_can_be_accepted_and_broken_data_cannot(project: Path) -> None:
    (project / "people.yaml").write_text("columns: {id: {}, age: {max: 200}, y: {}}\ndrift: {columns: [age]}\n")
    assert code(run(project, "--accept")) == 0
    pl.read_csv(project / "people.csv").with_columns(age=pl.col("age") + 40).write_csv(project / "people.csv")

    assert code(run(project)) == 3
    assert code(run(project, "--accept")) == 0
    assert code(run(project)) == 0

    pl.read_csv(project / "people.csv").with_columns(age=pl.col("age") + 400).write_csv(project / "people.csv")
    assert code(run(project, "--accept")) == 2


def test_options_that_do_not_go_together_are_refused(project: Path) -> None:
    assert code(run(project, "--label", "y")) == 2
    assert code(run(project, "--infer")) == 2
    assert code(run(project, "none.csv", "--contract", "c.yaml")) == 2
