"""The commands that every CI system runs, and how a template becomes a pipeline file.

    install -> the project's tests -> check -> run (gates) -> report, kept in every case
                                                 | exit code 0, on the main branch
                                                 deploy

A job fails with the exit code of `lockgate run`: 3 says that the candidate is worse, 1 that a stage broke.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lockgate.plugins import CiFacts

REPORT = "report"
INSTALL = 'command -v lockgate >/dev/null || python -m pip install --quiet "$LOCKGATE_PACKAGE"'


class Pipeline(NamedTuple):
    """A CI system whose pipeline is one file."""

    title: str
    path: str
    template: str

    def files(self, facts: CiFacts) -> Mapping[str, str]:
        return {self.path: render(self.template, facts)}


def install_commands(facts: CiFacts) -> list[str]:
    """Lockgate, unless the image brings it, and what the project asks for."""
    commands = [INSTALL]
    if facts.test_command:
        commands.append("python -m pip install --quiet pytest")
    if facts.requirements:
        commands.append(f"python -m pip install --quiet --requirement {facts.requirements}")
    return commands


def report_command() -> str:
    """Print the gate report as Markdown and keep it with its drawings; a run that broke before its gates has none."""
    return f"lockgate report --format markdown --output {REPORT} || true"


def deploy_command(facts: CiFacts) -> str | None:
    """What the main branch runs after its gates have passed.

    Without a version it is the challenger, or the champion where nothing new passed: then nothing is left to do.
    """
    if facts.environment is None:
        return None
    return f"lockgate deploy {facts.model} --to {facts.environment}"


def in_folder(facts: CiFacts, path: str) -> str:
    """A path of the project as seen from the root of the repository."""
    return path if facts.folder == "." else f"{facts.folder}/{path}"


def render(name: str, facts: CiFacts) -> str:
    """The template `templates/NAME` with the facts and the commands above."""
    # A pipeline is no page: nothing to escape, and `<%` leaves the providers' own `${{ }}` and `{% %}` alone.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    return environment.get_template(name).render(
        facts=facts,
        install=install_commands(facts),
        report=report_command(),
        deploy=deploy_command(facts),
        state=in_folder(facts, ".lockgate"),
        report_folder=in_folder(facts, REPORT),
    )
