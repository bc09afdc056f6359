"""`lockgate run`: the whole life cycle of a candidate, as far as something changed."""

import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.automation.lifecycle import LifecycleOutcome
    from lockgate.automation.recording import TrackingServer
    from lockgate.entities import Verdict
    from lockgate.pipelines.outcome import StageOutcome
    from lockgate.pipelines.reporter import Reporter


@click.command
@click.argument("stages", nargs=-1, metavar="[STAGE]...")
@click.option("--jobs", "-j", type=click.IntRange(min=0), help="Stages at the same time; 0 means one per core.")
@click.option("--force", "-f", is_flag=True, help="Run the stages even where nothing changed.")
@click.option("--keep-going", "-k", is_flag=True, help="After a failure, run all that does not depend on it.")
@click.option("--no-gates", is_flag=True, help="Only run the stages: no evaluation, no release.")
@click.option("--deploy", is_flag=True, help="Bring a passing version into environments with `promote: automatic`.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON; progress goes to standard error.")
@click.pass_obj
def run(
    app: App,
    stages: tuple[str, ...],
    jobs: int | None,
    force: bool,
    keep_going: bool,
    no_gates: bool,
    deploy: bool,
    as_json: bool,
) -> None:
    """Run what changed: data contracts, stages, evaluation, gates, registration.

    Without STAGE everything is brought up to date; with STAGEs, these and what they depend on. What the cache knows is
    not run again, deleted outputs are restored, and a run that was killed goes on after its last finished stage.
    Exit code 1: a stage failed; 3: a gate or a data contract said no; 5: another run works on this project.

    \b
    Example: lockgate run --jobs 4
    """
    from lockgate.automation.lifecycle import run_lifecycle
    from lockgate.pipelines.outcome import PipelineFailed

    with _reporter(as_json) as reporter, _tracking(app) as tracking, _ending_on_sigterm():
        try:
            outcome = run_lifecycle(
                app.folder,
                open_client=lambda: app.own_client,
                store=app.store,
                tracking=tracking,
                clock=app.clock,
                user=app.user,
                reporter=reporter,
                targets=stages,
                jobs=app.settings.jobs if jobs is None else jobs,
                force=force,
                keep_going=keep_going,
                gates=not no_gates,
            )
        except PipelineFailed as error:
            if as_json:
                _print_json(error.outcome.stages, None)
            raise
    if as_json:
        _print_json(outcome.stages, outcome)
    else:
        _print_outcome(app, outcome)
    if outcome.refusal is not None:
        raise outcome.refusal
    if deploy and outcome.version is not None:
        _deploy(app, outcome.version, quiet=as_json)


@contextmanager
def _reporter(as_json: bool) -> "Iterator[Reporter]":
    """Live on a terminal, one line a fact everywhere else."""
    from lockgate.pipelines.reporter import PlainReporter

    if as_json or not sys.stdout.isatty():
        yield PlainReporter(sys.stderr if as_json else sys.stdout)
        return
    from lockgate.cli.progress import TerminalReporter

    with TerminalReporter() as reporter:
        yield reporter


@contextmanager
def _tracking(app: App) -> "Iterator[Callable[[], TrackingServer]]":
    """A way to a tracking server, which is started when it is asked for and stopped at the end."""
    from lockgate.automation.recording import TrackingServer
    from lockgate.config import read_token

    lock = Lock()  # several stages may ask at once
    known: list[TrackingServer] = []
    with ExitStack() as running:

        def tracking() -> TrackingServer:
            with lock:
                if not known and app.settings.uri:
                    token = read_token(app.settings.token, environ=os.environ)
                    known.append(TrackingServer(app.settings.uri, token))
                elif not known:
                    key = secrets.token_hex(32)
                    known.append(TrackingServer(_start_server(app, running, key), key))
                return known[0]

        yield tracking


def _start_server(app: App, running: ExitStack, key: str) -> str:
    """A server that trusts the stages of this run, which are told the key."""
    from lockgate.server.app import make_app
    from lockgate.server.context import open_installation
    from lockgate.server.run import serve_in_thread

    context = open_installation(app.folder.state, settings=app.settings, user=app.user, clock=app.clock)
    running.callback(context.close)
    api = make_app(context, settings=app.settings, local_key=key)
    running.callback(api.close)
    server = serve_in_thread(api)
    running.callback(server.stop)
    return server.url


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """A polite kill (CI that cancels, a service manager) ends the stages too, as Ctrl-C does."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _deploy(app: App, version: int, *, quiet: bool) -> None:
    """Bring a version that passed through the automatic environments, in the order of lockgate.yaml."""
    from lockgate.automation.guard import is_driven
    from lockgate.automation.promotion import automatic_environments, promote
    from lockgate.delivery.advance import drive
    from lockgate.delivery.targets.local import LocalTarget
    from lockgate.entities import Rollout
    from lockgate.errors import RolledBack

    def say(rollout: Rollout) -> None:
        click.echo(f"{rollout.environment}: {rollout.state}: {rollout.reason}", err=quiet)

    for environment in automatic_environments(app.folder):
        begun = promote(app.folder, app.client, version=version, environment=environment, by=app.user, clock=app.clock)
        if begun == "succeeded":
            click.echo(f"{environment}: has had this version already.", err=quiet)
            continue
        # What has not proved itself in one environment does not go on to the next.
        if not isinstance(begun, Rollout):
            before = f"version {version} was {begun.replace('_', ' ')} here"
            click.echo(f"{environment}: {'busy with another rollout' if begun == 'busy' else before}.", err=quiet)
            return
        if is_driven(app.folder.state):
            click.echo(f"{environment}: rollout {begun.rollout_id} has begun; lockgate up drives it.", err=quiet)
            return
        target = LocalTarget(app.folder.state, environment)
        production = app.folder.project.production
        ended = drive(app.client, target, begun, clock=app.clock, by=app.user, production=production, on_change=say)
        if ended.state == "rolled_back":
            raise RolledBack(f"version {version} was rolled back in {environment}: {ended.reason}")
        if ended.state != "succeeded":
            return


# -- what is printed --------------------------------------------------------------------------------------------------


def _print_json(stages: "tuple[StageOutcome, ...]", outcome: "LifecycleOutcome | None") -> None:
    from lockgate.cli.output import print_json

    if outcome is None:
        print_json({"stages": stages})
        return
    print_json(
        {
            "stages": stages,
            "run_id": outcome.run_id,
            "version": outcome.version,
            "new_version": outcome.new_version,
            "candidate": outcome.candidate,
            "verdict": outcome.verdict,
            "report": outcome.report,
        }
    )


def _print_outcome(app: App, outcome: "LifecycleOutcome") -> None:
    """In plain lines, so that a run with nothing to do loads no library for tables."""
    counts: dict[str, int] = {}
    for stage in outcome.stages:
        counts[stage.status] = counts.get(stage.status, 0) + 1
    click.echo("stages: " + (", ".join(f"{count} {status}" for status, count in counts.items()) or "none"))
    if outcome.verdict is None or outcome.version is None:
        return
    _print_verdict(outcome.verdict)
    model = app.folder.project.model
    word = "passed" if outcome.verdict.passed else "refused"
    known = "" if outcome.new_version else ", as before"
    click.echo(f"{model}@{outcome.version} {click.style(word, fg=_COLOURS[word])}{known}")
    if (report := _report_path(app, outcome)) is not None:
        click.echo(f"report: {report}")
    if outcome.verdict.passed and outcome.new_version:
        click.echo(f"next: {_next_step(app, outcome.version)}")


_COLOURS = {"passed": "green", "failed": "red", "refused": "red", "skipped": "yellow"}


def _print_verdict(verdict: "Verdict") -> None:
    width = max((len(check.gate) for check in verdict.checks), default=0)
    for check in verdict.checks:
        status = click.style(f"{check.status:<7}", fg=_COLOURS[check.status])
        click.echo(f"  {status}  {check.gate:<{width}}  {check.reason}")


def _report_path(app: App, outcome: "LifecycleOutcome") -> str | None:
    """The report as files that a browser can open; None where none was written."""
    from lockgate.entities import Content
    from lockgate.store.checkout import checkout

    if outcome.report is None:
        return None
    folder = app.folder.state / "reports" / str(outcome.version)
    content = Content(kind="tree", digest=outcome.report, size_bytes=0)
    if (outcome.new_version or not folder.is_dir()) and app.store.has(content):
        checkout(app.store, content, folder)
    page = folder / "report.html"
    return str(page if page.is_file() else folder) if folder.is_dir() else None


def _next_step(app: App, version: int) -> str:
    environments = app.folder.project.environments
    if not environments:
        return "lockgate serve"
    name, environment = next(iter(environments.items()))
    if environment.is_automatic:
        return "lockgate up (or lockgate run --deploy)"
    reference = f"{app.folder.project.model}@{version}"
    if environment.approvals:
        return f"lockgate approve {reference} --for {name}; lockgate deploy {reference} --to {name}"
    return f"lockgate deploy {reference} --to {name}"
