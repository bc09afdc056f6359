import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.plugins import CI, CiFacts, load_plugin, plugin_names

FACTS = CiFacts(
    model="churn",
    folder=".",
    environment="production",
    test_command="python -m pytest tests",
    requirements="requirements.txt",
    branch="main",
    python="3.11",
)
VARIANTS = {
    "whole": FACTS,
    "in a folder": FACTS._replace(folder="models/churn"),
    "bare": FACTS._replace(environment=None, test_command=None, requirements=None),
    "other branch": FACTS._replace(branch="release/1.x"),
}
SCHEMAS = {
    "azure": ("vendor.azure-pipelines", "--regex-variant", "nonunicode"),
    "circleci": ("vendor.circle-ci",),
    "github": ("vendor.github-workflows",),
    "gitlab": ("vendor.gitlab-ci",),
    "travis": ("vendor.travis",),
}


def only_file(provider: str, facts: CiFacts) -> tuple[str, str]:
    ((path, text),) = load_plugin(CI, provider).files(facts).items()
    return path, text


@pytest.mark.parametrize("provider", sorted(SCHEMAS))
def test_pipeline_passes_the_published_schema(provider: str, tmp_path: Path) -> None:
    files = []
    for i, facts in enumerate(VARIANTS.values()):
        files.append(tmp_path / f"{i}.yml")
        files[-1].write_text(only_file(provider, facts)[1])
    schema, *options = SCHEMAS[provider]
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *options, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_jenkinsfile_parses_as_groovy(variant: str) -> None:
    tree_sitter = pytest.importorskip("tree_sitter")
    groovy = pytest.importorskip("tree_sitter_groovy")
    path, text = only_file("jenkins", VARIANTS[variant])
    assert path == "Jenkinsfile"
    tree = tree_sitter.Parser(tree_sitter.Language(groovy.language())).parse(text.encode())
    assert not tree.root_node.has_error


def test_parser_of_jenkinsfiles_sees_an_error() -> None:
    tree_sitter = pytest.importorskip("tree_sitter")
    groovy = pytest.importorskip("tree_sitter_groovy")
    text = only_file("jenkins", FACTS)[1].replace("stages {", "stages {{", 1)
    tree = tree_sitter.Parser(tree_sitter.Language(groovy.language())).parse(text.encode())
    assert tree.root_node.has_error


@pytest.mark.parametrize("provider", plugin_names(CI))
def test_every_pipeline_tests_checks_runs_reports_and_deploys_in_that_order(provider: str) -> None:
    _, text = only_file(provider, FACTS)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", "//")))
    wanted = [
        '"$LOCKGATE_PACKAGE"',
        "python -m pytest tests",
        "lockgate check",
        "lockgate run",
        "lockgate deploy churn --to production",
    ]
    places = [text.index(part) for part in wanted]
    assert places == sorted(places)
    assert "lockgate report --format markdown --output report || true" in text
    assert "--requirement requirements.txt" in text


@pytest.mark.parametrize("provider", plugin_names(CI))
def test_without_environment_nothing_is_deployed(provider: str) -> None:
    _, text = only_file(provider, VARIANTS["bare"])
    assert "lockgate deploy" not in text
    assert "pytest" not in text


@pytest.mark.parametrize("provider", plugin_names(CI))
def test_state_and_report_of_a_project_in_a_folder_are_looked_for_there(provider: str) -> None:
    _, text = only_file(provider, VARIANTS["in a folder"])
    assert "models/churn/.lockgate" in text


def steps_of(text: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = yaml.safe_load(text)["jobs"]["model"]["steps"]
    return steps


def test_github_keeps_report_and_state_of_a_refused_candidate_and_deploys_from_main_only() -> None:
    steps = {step.get("name"): step for step in steps_of(only_file("github", FACTS)[1])}
    assert steps["Keep the report"]["if"] == steps["Keep the recorded state"]["if"] == "always()"
    assert steps["Deploy to production"]["if"] == "github.event_name == 'push' && github.ref == 'refs/heads/main'"


def test_gitlab_keeps_report_and_state_of_a_refused_candidate_and_deploys_from_main_only() -> None:
    pipeline = yaml.safe_load(only_file("gitlab", FACTS)[1])
    assert pipeline["model"]["artifacts"]["when"] == pipeline[".lockgate"]["cache"]["when"] == "always"
    assert pipeline["deploy"]["rules"] == [{"if": '$CI_COMMIT_BRANCH == "main"'}]


@pytest.mark.parametrize("provider", plugin_names(CI))
def test_pipeline_says_that_it_may_be_edited_and_what_the_cache_is_worth(provider: str) -> None:
    _, text = only_file(provider, FACTS)
    assert f"lockgate ci init {provider}" in text
    assert "LOCKGATE_URI" in text
