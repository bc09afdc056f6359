"""The `lockgate` command: finds the subcommand, runs it, and turns every outcome into an exit code."""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from lockgate import __version__
from lockgate.errors import EXIT_BUG, InvalidInput, LockgateError

EXIT_UNREAD = 128 + signal.SIGPIPE  # as the shell tells it of other tools
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Lazy(NamedTuple):
    """Where a command lives and what `--help` says of it, so that help needs no import."""

    target: str
    short_help: str


# In the order of a day's work; `--help` keeps it.
COMMANDS: Mapping[str, Lazy] = {
    "init": Lazy("lockgate.cli.init:init", "Start a project: lockgate.yaml, a data contract, a train script."),
    "check": Lazy("lockgate.cli.check:check", "Check data files against their contracts, or infer a contract."),
    "run": Lazy("lockgate.cli.run:run", "Run what changed: data checks, stages, evaluation, gates, registration."),
    "status": Lazy("lockgate.cli.status:status", "Say which stages would run, and why."),
    "runs": Lazy("lockgate.cli.runs:runs", "List and show recorded runs."),
    "models": Lazy("lockgate.cli.models:models", "List, show, compare and tag model versions and aliases."),
    "report": Lazy("lockgate.cli.report:report", "Show the gate report of a version as Markdown or HTML."),
    "approve": Lazy("lockgate.cli.approve:approve", "Approve a version for an environment."),
    "deploy": Lazy("lockgate.cli.deploy:deploy", "Bring a version into an environment."),
    "rollback": Lazy("lockgate.cli.rollback:rollback", "Return an environment to its last good release."),
    "serve": Lazy("lockgate.cli.serve:serve", "Answer prediction requests over HTTP."),
    "predict": Lazy("lockgate.cli.predict:predict", "Score a CSV, Parquet or Arrow file."),
    "feedback": Lazy("lockgate.cli.feedback:feedback", "Add true labels to logged predictions."),
    "monitor": Lazy("lockgate.cli.monitor:monitor", "Look at production: drift, performance, quality, health."),
    "trace": Lazy("lockgate.cli.trace:trace", "Follow a prediction back to its data and commit."),
    "up": Lazy("lockgate.cli.up:up", "Run everything on this machine: API, serving, rollouts, monitor, schedule."),
    "server": Lazy("lockgate.cli.server:server", "Run the tracking and registry API alone."),
    "users": Lazy("lockgate.cli.users:users", "List users and their roles, or change them."),
    "tokens": Lazy("lockgate.cli.tokens:tokens", "List, make and revoke the tokens that programs log in with."),
    "audit": Lazy("lockgate.cli.audit:audit", "Print who decided what, on what, when and from where."),
    "webhooks": Lazy("lockgate.cli.webhooks:webhooks", "List, add, remove and test webhooks."),
    "ci": Lazy("lockgate.cli.ci:ci", "Write a pipeline file for a CI provider."),
    "gc": Lazy("lockgate.cli.gc:gc", "Delete stored content that nothing refers to."),
    "verify": Lazy("lockgate.cli.verify:verify", "Read all stored content again and name what is damaged."),
    "import": Lazy("lockgate.cli.exchange:import_", "Copy everything from an MLflow server or store to here."),
    "export": Lazy("lockgate.cli.exchange:export", "Copy everything from here to an MLflow server."),
    "migrate": Lazy("lockgate.cli.migrate:migrate", "Bring the project's database to this version of Lockgate."),
    "config": Lazy("lockgate.cli.config:config", "Print every setting and where its value comes from."),
    "doctor": Lazy("lockgate.cli.doctor:doctor", "Check that this machine and project are ready."),
}


class LazyGroup(click.Group):
    """Imports a subcommand's module when it is called and never before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module, _, attribute = lazy.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # whatever a command returns
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output went away (`lockgate runs | head`). Click would exit with 1, a stage that failed;
            # 0 would be a gate that was passed. What is left to be written goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_UNREAD

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.short_help) for name, lazy in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit codes: 0 done, 1 a stage failed, 2 wrong input, 3 a gate said no, 4 rolled back, "
    "5 unreachable (retry), 6 stored data damaged, 70 a bug.",
)
@click.option(
    "-C", "folder", type=click.Path(path_type=Path, file_okay=False), default=".", help="Work in this project folder."
)
@click.option(
    "--project-file", type=click.Path(path_type=Path, dir_okay=False), hidden=True, help="Read this for lockgate.yaml."
)
@click.option("--uri", help="Address of a Lockgate server instead of the project's own state.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="lockgate")
@click.pass_context
def lockgate(ctx: click.Context, folder: Path, project_file: Path | None, uri: str | None, debug: bool) -> None:
    """CI/CD for machine learning: from a commit or new data to a model in production that is watched."""
    from lockgate.cli.app import App

    ctx.obj = App(start=folder, uri=uri, project_file=project_file)


def main() -> None:
    """Entry point: every LockgateError becomes its message and exit code, anything else is a bug."""
    debug = "--debug" in sys.argv[1:]
    try:
        code = lockgate.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except LockgateError as error:
        if debug:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in _NOT_ALLOWED and error.filename:
            click.echo(f"error: {error.filename}: {error.strerror}.", err=True)
            click.echo("  next: allow it to this user, or work in a copy of the project", err=True)
            sys.exit(InvalidInput.exit_code)
        from lockgate.telemetry import write_crash_report

        path = write_crash_report(error)
        click.echo(f"error: this is a bug in lockgate ({type(error).__name__}). Traceback: {path}", err=True)
        sys.exit(EXIT_BUG)
    sys.exit(code if isinstance(code, int) else 0)
