import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from lockgate.cli.main import lockgate
from lockgate.errors import AlreadyExists, InvalidInput, NotFound

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_in(*arguments: str, folder: Path = tmp_path) -> Result:
        return CliRunner().invoke(lockgate, ["-C", str(folder), "ci", *arguments])

    return run_in


def write_project(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lockgate.yaml").write_text(
        "model: churn\ntask: binary_classification\nenvironments: {staging: {}, production: {}}\n"
    )
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def test_pipeline_is_written_where_the_provider_looks(run: Run, tmp_path: Path) -> None:
    write_project(tmp_path)
    result = run("init", "github")
    assert result.exit_code == 0, result.output
    assert "wrote .github/workflows/lockgate.yml (GitHub Actions)" in result.output
    text = (tmp_path / ".github" / "workflows" / "lockgate.yml").read_text()
    assert "lockgate deploy churn --to production" in text
    assert "pytest" not in text


def test_tests_and_requirements_of_the_project_are_used(run: Run, tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "tests" / "unit" / "test_x.py").touch()
    (tmp_path / "requirements.txt").touch()
    assert run("init", "gitlab").exit_code == 0
    pipeline = yaml.safe_load((tmp_path / ".gitlab-ci.yml").read_text())
    assert pipeline["model"]["script"][0] == "python -m pytest tests"
    assert any("requirements.txt" in line for line in pipeline[".lockgate"]["before_script"])


def test_project_in_a_folder_of_the_repository_is_entered(run: Run, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    folder = write_project(tmp_path / "models" / "churn")
    assert run("init", "gitlab", folder=folder).exit_code == 0
    pipeline = yaml.safe_load((tmp_path / ".gitlab-ci.yml").read_text())
    assert pipeline[".lockgate"]["before_script"][0] == "cd models/churn"
    assert pipeline["model"]["artifacts"]["paths"] == ["models/churn/report/"]
    assert pipeline["deploy"]["rules"] == [{"if": '$CI_COMMIT_BRANCH == "trunk"'}]


def test_main_branch_is_that_of_the_remote(run: Run, tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    git(tmp_path, "init", "-q", "-b", "develop", str(origin))
    git(origin, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "--allow-empty", "-m", "x")
    git(tmp_path, "clone", "-q", str(origin), str(clone))
    git(clone, "switch", "-q", "-c", "feature")
    write_project(clone)
    assert run("init", "circleci", folder=clone).exit_code == 0
    jobs = yaml.safe_load((clone / ".circleci" / "config.yml").read_text())["workflows"]["lockgate"]["jobs"]
    assert jobs[1]["deploy"]["filters"]["branches"]["only"] == "develop"


def test_main_branch_can_be_said(run: Run, tmp_path: Path) -> None:
    write_project(tmp_path)
    assert run("init", "jenkins", "--branch", "release/1").exit_code == 0
    assert "branch 'release/1'" in (tmp_path / "Jenkinsfile").read_text()


def test_branch_that_would_break_out_of_the_file_is_refused(run: Run, tmp_path: Path) -> None:
    write_project(tmp_path)
    result = run("init", "jenkins", "--branch", "x' || true")
    assert isinstance(result.exception, InvalidInput)
    assert not (tmp_path / "Jenkinsfile").exists()


def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / ".travis.yml").write_text("mine")
    assert isinstance(run("init", "travis").exception, AlreadyExists)
    assert (tmp_path / ".travis.yml").read_text() == "mine"
    assert run("init", "travis", "--force").exit_code == 0


def test_unknown_provider_names_the_nearest(run: Run, tmp_path: Path) -> None:
    write_project(tmp_path)
    result = run("init", "jenkis")
    assert isinstance(result.exception, NotFound)
    assert result.exception.hint == "did you mean 'jenkins'?"


def test_without_a_project_it_says_how_to_start_one(run: Run) -> None:
    result = run("init", "github")
    assert isinstance(result.exception, NotFound)
    assert result.exception.hint == "lockgate init"


def test_providers_are_listed(run: Run) -> None:
    output = run("list").output
    assert [line.split()[0] for line in output.splitlines()] == [
        "azure", "circleci", "github", "gitlab", "jenkins", "travis",
    ]  # fmt: skip
