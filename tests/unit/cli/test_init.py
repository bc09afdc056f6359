import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from lockgate.cli.main import lockgate
from lockgate.data.contract import load_contract
from lockgate.data.expectations import check_table
from lockgate.errors import AlreadyExists, InvalidInput
from lockgate.project import BoundGate, ComparisonGate, load_project

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_in_project(*arguments: str) -> Result:
        return CliRunner().invoke(lockgate, ["-C", str(tmp_path), *arguments])

    return run_in_project


def write_customers(folder: Path, rows: int = 200) -> Path:
    path = folder / "data" / "customers.csv"
    path.parent.mkdir(exist_ok=True)
    pl.DataFrame(
        {
            "customer_id": range(rows),
            "age": [20 + i % 50 for i in range(rows)],
            "plan": ["basic" if i % 3 else "plus" for i in range(rows)],
            "it's odd": [i * 0.5 for i in range(rows)],
            "same": [1] * rows,
            "note": [f"text {i}" for i in range(rows)],
            "churned": ["yes" if i % 4 == 0 else "no" for i in range(rows)],
        }
    ).write_csv(path)
    return path


def test_without_data_a_commented_file_that_loads(run: Run, tmp_path: Path) -> None:
    result = run("init", "--model", "churn")
    assert result.exit_code == 0, result.output
    assert load_project(tmp_path).project.model == "churn"
    assert (tmp_path / "lockgate.yaml").read_text().count("#") > 10
    assert "wrote lockgate.yaml" in result.output
    assert "next: fill in lockgate.yaml" in result.output


def test_with_data_everything_that_a_first_run_needs(run: Run, tmp_path: Path) -> None:
    write_customers(tmp_path)
    result = run("init", "--data", "data/customers.csv", "--label", "churned", "--model", "churn")
    assert result.exit_code == 0, result.output
    assert "data/customers.csv: 200 rows; churned makes it a binary classification." in result.output
    folder = load_project(tmp_path)
    assert folder.project.candidate_stage == "train"
    assert folder.project.evaluate is not None
    assert folder.project.evaluate.positive == "yes"
    assert {type(gate) for gate in folder.project.gates} >= {BoundGate, ComparisonGate}
    assert folder.project.production == "production"
    for name in ("src/prepare.py", "src/train.py", "params.yaml", "contracts/customers.yaml"):
        assert f"wrote {name}" in result.output
        assert (tmp_path / name).is_file()
    train = (tmp_path / "src" / "train.py").read_text()
    compile(train, "train.py", "exec")
    assert 'NUMBERS = ["age", "it\'s odd"]' in train
    assert 'CATEGORIES = ["plan"]' in train


def test_what_would_be_learned_by_heart_is_left_out_and_said(run: Run, tmp_path: Path) -> None:
    write_customers(tmp_path)
    output = run("init", "--data", "data/customers.csv", "--label", "churned").output
    assert "customer_id is left out of the features: it is an identifier." in output
    assert "same is left out of the features: it has one value only." in output
    assert "note is left out of the features: it is text with 200 different values." in output


def test_the_contract_holds_for_the_file_it_came_from(run: Run, tmp_path: Path) -> None:
    path = write_customers(tmp_path)
    assert run("init", "--data", "data/customers.csv", "--label", "churned").exit_code == 0
    checked = check_table(path, load_contract(tmp_path / "contracts" / "customers.yaml"))
    assert list(checked.failures) == []


@pytest.mark.parametrize(
    ("label", "task"),
    [
        ([0, 1] * 50, "binary classification"),
        ([True, False] * 50, "binary classification"),
        (["a", "b", "c", "d"] * 25, "multiclass classification"),
        ([0, 1, 2, 3] * 25, "multiclass classification"),
        ([i / 7 for i in range(100)], "regression"),
        (list(range(100)), "regression"),
    ],
)
def test_task_is_told_from_the_label(run: Run, tmp_path: Path, label: list[object], task: str) -> None:
    pl.DataFrame({"x": [i / 3 for i in range(100)], "y": label}).write_parquet(tmp_path / "t.parquet")
    result = run("init", "--data", "t.parquet", "--label", "y")
    assert result.exit_code == 0, result.output
    assert f"y makes it a {task}." in result.output
    assert load_project(tmp_path).project.task == task.replace(" ", "_")


def test_task_can_be_said(run: Run, tmp_path: Path) -> None:
    pl.DataFrame({"x": [i / 3 for i in range(100)], "y": [0, 1, 2, 3] * 25}).write_csv(tmp_path / "t.csv")
    assert run("init", "--data", "t.csv", "--label", "y", "--task", "regression").exit_code == 0
    assert load_project(tmp_path).project.task == "regression"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "data/customers.csv"], "belong together"),
        (["--label", "churned"], "belong together"),
        (["--data", "data/customers.csv", "--label", "chrun"], "has no column 'chrun'; it has: customer_id"),
        (["--data", "data/gone.csv", "--label", "churned"], "there is no data file"),
        (["--data", "data/customers.csv", "--label", "age", "--task", "binary_classification"], "it has 50"),
        (["--data", "data/customers.csv", "--label", "plan", "--task", "regression"], "needs numbers as label"),
        (["--data", "data/customers.csv", "--label", "note"], "has 200 different values"),
        (["--example", "--label", "x"], "brings its own data"),
    ],
)
def test_wrong_arguments_are_explained_and_write_nothing(
    run: Run, tmp_path: Path, arguments: list[str], says: str
) -> None:
    write_customers(tmp_path)
    result = run("init", *arguments)
    assert result.exception is not None
    assert says in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_data_outside_the_project_is_refused_with_the_command_to_copy_it(
    run: Run, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = write_customers(tmp_path_factory.mktemp("elsewhere"))
    result = run("init", "--data", str(elsewhere), "--label", "churned")
    assert isinstance(result.exception, InvalidInput)
    assert result.exception.hint == f"mkdir -p {tmp_path}/data && cp {elsewhere} {tmp_path}/data/"


def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    write_customers(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("mine")
    result = run("init", "--data", "data/customers.csv", "--label", "churned")
    assert isinstance(result.exception, AlreadyExists)
    assert "src/train.py is already in" in str(result.exception)
    assert not (tmp_path / "lockgate.yaml").exists()
    assert run("init", "--data", "data/customers.csv", "--label", "churned", "--force").exit_code == 0
    assert (tmp_path / "src" / "train.py").read_text() != "mine"


def test_gitignore_is_added_to_and_only_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\nbuild/")
    assert run("init").exit_code == 0
    assert run("init", "--force").exit_code == 0
    assert (tmp_path / ".gitignore").read_text() == "*.log\nbuild/\n.lockgate/\n"


def test_without_git_it_says_what_is_lost(run: Run, tmp_path: Path) -> None:
    assert "no git repository" in run("init").output
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert "no git repository" not in run("init", "--force").output


def test_model_is_named_after_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "My Model (new)"
    result = CliRunner().invoke(lockgate, ["-C", str(folder), "init"])
    assert result.exit_code == 0, result.output
    assert load_project(folder).project.model == "My-Model-new"


def test_example_brings_data_scripts_and_contract(run: Run, tmp_path: Path) -> None:
    result = run("init", "--example")
    assert result.exit_code == 0, result.output
    assert "569 rows; malignant makes it a binary classification" in result.output
    assert load_project(tmp_path).project.model == "tumours"
    assert pl.read_csv(tmp_path / "data" / "tumours.csv").shape == (569, 31)
    assert "import lockgate" in (tmp_path / "src" / "train.py").read_text()


def test_training_script_can_log_with_mlflow(run: Run, tmp_path: Path) -> None:
    write_customers(tmp_path)
    assert run("init", "--data", "data/customers.csv", "--label", "churned", "--mlflow").exit_code == 0
    train = (tmp_path / "src" / "train.py").read_text()
    assert "mlflow.sklearn.log_model" in train
    assert "import lockgate" not in train


@pytest.mark.parametrize("label", ["churned", "age", "it's odd"])
@pytest.mark.parametrize("options", [[], ["--mlflow"]])
def test_generated_scripts_are_formatted(run: Run, tmp_path: Path, label: str, options: list[str]) -> None:
    write_customers(tmp_path)
    assert run("init", "--data", "data/customers.csv", "--label", label, *options).exit_code == 0
    files = [str(tmp_path / "src" / name) for name in ("prepare.py", "train.py")]
    for check in (["check", "--select", "E,F,I,W"], ["format", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--isolated", "--line-length", "120", *files],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,  # lockgate is a library there and not the code at hand
        )
        assert done.returncode == 0, done.stdout + done.stderr
