"""`lockgate ci`: the pipeline file of a CI system."""

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lockgate.errors import AlreadyExists, InvalidInput

if TYPE_CHECKING:
    from lockgate.cli.app import App
    from lockgate.plugins import CiFacts
    from lockgate.project import Folder

_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")  # needs no quoting in YAML, Groovy or a shell


@click.group()
def ci() -> None:
    """Write a pipeline file for a CI provider."""


@ci.command(name="list")
def list_() -> None:
    """List the CI systems that a pipeline can be written for."""
    from lockgate.plugins import CI, load_plugin, plugin_names

    for name in plugin_names(CI):
        click.echo(f"{name:10} {load_plugin(CI, name).title}")


@ci.command()
@click.argument("provider", metavar="PROVIDER")
@click.option("--force", is_flag=True, help="Overwrite files that are already there.")
@click.option("--branch", help="The main branch, which deploys. Default: the repository's own.")
@click.pass_obj
def init(app: "App", provider: str, force: bool, branch: str | None) -> None:
    """Write PROVIDER's pipeline: github, gitlab, jenkins, circleci, travis or azure.

    The pipeline installs Lockgate, runs the project's tests, checks the data, runs the stages and the gates, keeps the
    report, and deploys from the main branch only. Its result is the exit code of `lockgate run`.

    Example: lockgate ci init github
    """
    from lockgate.plugins import CI, CiProvider, load_plugin

    system: CiProvider = load_plugin(CI, provider)
    folder = app.folder
    repository = _repository(folder.root)
    files = {repository / path: text for path, text in system.files(_facts(folder, repository, branch)).items()}
    taken = [path for path in files if path.exists()]
    if taken and not force:
        raise AlreadyExists(f"{taken[0]} is already there.", hint=f"lockgate ci init {provider} --force overwrites it")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        click.echo(f"wrote {path.relative_to(repository)} ({system.title})")
    click.echo("next: read it, then: git add . && git commit && git push")


def _repository(root: Path) -> Path:
    """The folder that the CI system checks out; the project's own where there is no git yet."""
    return next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)


def _facts(folder: "Folder", repository: Path, branch: str | None) -> "CiFacts":
    from lockgate.plugins import CiFacts

    root, project = folder.root, folder.project
    facts = CiFacts(
        model=project.model,
        folder=root.relative_to(repository).as_posix(),
        environment=project.production,
        test_command="python -m pytest tests" if any(root.glob("tests/**/test_*.py")) else None,
        requirements="requirements.txt" if (root / "requirements.txt").is_file() else None,
        branch=branch or _main_branch(repository),
        python="3.11",
    )
    for what, value in (("folder", facts.folder), ("branch", facts.branch)):
        if not _PLAIN.fullmatch(value):
            raise InvalidInput(f"the {what} {value!r} has characters that a pipeline file cannot carry unquoted.")
    return facts


def _main_branch(repository: Path) -> str:
    """What the remote calls its main branch; else `main` or `master`, whichever is here; else the current branch."""
    remote = _git(repository, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
    if remote:
        return remote.removeprefix("origin/")
    for name in ("main", "master"):
        if _git(repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{name}"):
            return name
    return _git(repository, "symbolic-ref", "--short", "HEAD") or "main"


def _git(folder: Path, *arguments: str) -> str:
    """The answer, or nothing where git, the repository or the thing asked for is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
